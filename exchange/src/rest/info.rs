//! `/exchangeInfo`: the limits, and each symbol with the filters that its prices obey.

use super::error::ApiError;
use super::params::{Params, Wanted};
use crate::market::{Market, Symbol};
use serde_json::{Value, json};

pub(super) fn exchange_info(
    market: &dyn Market,
    params: &Params,
    weight_per_minute: u32,
) -> Result<Vec<u8>, ApiError> {
    params.accept(&["symbol", "symbols", "permissions", "showPermissionSets", "symbolStatus"])?;
    let wanted = match params.symbols(market)? {
        Wanted::One(symbol) => vec![symbol],
        Wanted::Many(symbols) => symbols,
    };
    let limit = |kind: &str, interval: &str, count: u32, limit: u32| {
        format!(
            "{{\"rateLimitType\":\"{kind}\",\"interval\":\"{interval}\",\"intervalNum\":{count},\
             \"limit\":{limit}}}"
        )
    };
    let limits = [
        limit("REQUEST_WEIGHT", "MINUTE", 1, weight_per_minute),
        limit("RAW_REQUESTS", "MINUTE", 5, 300_000),
    ];
    let symbols: Vec<String> = wanted
        .into_iter()
        .filter_map(|symbol| market.symbols().get(symbol))
        .map(render_symbol)
        .collect();
    let body = format!(
        "{{\"timezone\":\"UTC\",\"serverTime\":{},\"rateLimits\":[{}],\"exchangeFilters\":[],\
         \"symbols\":[{}]}}",
        market.now(),
        limits.join(","),
        symbols.join(","),
    );
    Ok(body.into_bytes())
}

fn render_symbol(symbol: &Symbol) -> String {
    let fields: [(&str, Value); 26] = [
        ("symbol", json!(symbol.name)),
        ("status", json!("TRADING")),
        ("baseAsset", json!(symbol.base)),
        ("baseAssetPrecision", json!(8)),
        ("quoteAsset", json!(symbol.quote)),
        ("quotePrecision", json!(8)),
        ("quoteAssetPrecision", json!(8)),
        ("baseCommissionPrecision", json!(8)),
        ("quoteCommissionPrecision", json!(8)),
        ("orderTypes", json!(["LIMIT", "LIMIT_MAKER", "MARKET", "STOP_LOSS_LIMIT"])),
        ("icebergAllowed", json!(true)),
        ("ocoAllowed", json!(true)),
        ("otoAllowed", json!(true)),
        ("opoAllowed", json!(true)),
        ("quoteOrderQtyMarketAllowed", json!(true)),
        ("allowTrailingStop", json!(false)),
        ("cancelReplaceAllowed", json!(false)),
        ("amendAllowed", json!(false)),
        ("pegInstructionsAllowed", json!(true)),
        ("isSpotTradingAllowed", json!(true)),
        ("isMarginTradingAllowed", json!(false)),
        ("filters", Value::Null),
        ("permissions", json!([])),
        ("permissionSets", json!([["SPOT"]])),
        ("defaultSelfTradePreventionMode", json!("NONE")),
        ("allowedSelfTradePreventionModes", json!(["NONE"])),
    ];
    let rendered: Vec<String> = fields
        .iter()
        .map(|(name, value)| match *name {
            "filters" => format!("\"filters\":{}", render_filters(symbol)),
            _ => format!("\"{name}\":{value}"),
        })
        .collect();
    format!("{{{}}}", rendered.join(","))
}

fn render_filters(symbol: &Symbol) -> String {
    let (tick, step) = (symbol.tick, symbol.step);
    format!(
        "[{{\"filterType\":\"PRICE_FILTER\",\"minPrice\":\"{tick}\",\
         \"maxPrice\":\"1000000.00000000\",\"tickSize\":\"{tick}\"}},\
         {{\"filterType\":\"LOT_SIZE\",\"minQty\":\"{step}\",\
         \"maxQty\":\"9000000000.00000000\",\"stepSize\":\"{step}\"}}]"
    )
}
