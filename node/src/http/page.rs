//! The page and its assets, inside the binary.

use std::future;
use std::sync::Arc;

use axum::Router;
use axum::http::header::{CACHE_CONTROL, CONTENT_TYPE, ETAG, IF_NONE_MATCH};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::routing::get;

use super::App;

const HTML: &str = "text/html; charset=utf-8";
const CSS: &str = "text/css; charset=utf-8";
const JS: &str = "text/javascript; charset=utf-8";
const SVG: &str = "image/svg+xml";
const TEXT: &str = "text/plain; charset=utf-8";

/// A file of the page.
#[derive(Clone, Copy)]
struct Asset {
    path: &'static str,
    content_type: &'static str,
    bytes: &'static [u8],
}

macro_rules! asset {
    ($path:literal, $file:literal, $content_type:expr) => {
        Asset {
            path: $path,
            content_type: $content_type,
            bytes: include_bytes!(concat!("../../page/", $file)),
        }
    };
}

const ASSETS: [Asset; 7] = [
    asset!("/", "index.html", HTML),
    asset!("/style.css", "style.css", CSS),
    asset!("/icon.svg", "icon.svg", SVG),
    asset!("/main.js", "main.js", JS),
    asset!("/charts.js", "charts.js", JS),
    asset!("/vendor/lightweight-charts.js", "vendor/lightweight-charts.js", JS),
    asset!("/vendor/LICENSE", "vendor/LICENSE", TEXT),
];

/// Adds the page to `router`.
pub(super) fn routes(router: Router<Arc<App>>) -> Router<Arc<App>> {
    ASSETS.into_iter().fold(router, |router, asset| {
        let (path, etag) = (asset.path, etag(asset.bytes));
        router.route(
            path,
            get(move |headers: HeaderMap| future::ready(send(&asset, &etag, &headers))),
        )
    })
}

/// Browsers ask each time and are told so if theirs is still right: another version of the node
/// shows its own page at once.
fn send(asset: &Asset, etag: &str, headers: &HeaderMap) -> Response {
    let known = headers
        .get(IF_NONE_MATCH)
        .and_then(|value| value.to_str().ok())
        .is_some_and(|known| known.split(',').any(|it| it.trim().trim_start_matches("W/") == etag));
    let caching = [(CACHE_CONTROL, "no-cache"), (ETAG, etag)];
    if known {
        return (StatusCode::NOT_MODIFIED, caching).into_response();
    }
    (caching, [(CONTENT_TYPE, asset.content_type)], asset.bytes).into_response()
}

/// FNV-1a of the contents: it need not resist anybody, only change with them.
fn etag(bytes: &[u8]) -> String {
    let hash = bytes.iter().fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
        (hash ^ u64::from(*byte)).wrapping_mul(0x0000_0100_0000_01b3)
    });
    format!("\"{hash:016x}\"")
}
