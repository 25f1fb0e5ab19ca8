//! Control messages over the socket. The table of refusals is beside the code that makes them.

use crate::support::{Client, seeded};
use fts_exchange::Exchange;

#[tokio::test(flavor = "multi_thread")]
async fn subscriptions_come_and_go() {
    let exchange = Exchange::start(seeded(1, &["BTCUSDT"], 2000.0)).await.unwrap();
    let mut client = Client::connect(&exchange, "/ws").await;
    let list = r#"{"method":"LIST_SUBSCRIPTIONS","id":"a1"}"#;
    assert_eq!(client.ask(list).await, r#"{"result":[],"id":"a1"}"#);
    // Nobody knows the second one: accepted, and silent for ever.
    let subscribe = r#"{"method":"SUBSCRIBE","params":["btcusdt@trade","nobody@trade"],"id":2}"#;
    assert_eq!(client.ask(subscribe).await, r#"{"result":null,"id":2}"#);
    assert_eq!(client.json().await["e"], "trade");
    client.send(list).await;
    let listed = r#"{"result":["btcusdt@trade","nobody@trade"],"id":"a1"}"#;
    while client.text().await != listed {}
    client.send(r#"{"method":"UNSUBSCRIBE","params":["btcusdt@trade"],"id":-4}"#).await;
    while client.text().await != r#"{"result":null,"id":-4}"# {}
    assert_eq!(client.ask(list).await, r#"{"result":["nobody@trade"],"id":"a1"}"#);
    exchange.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_wrapper_is_a_property() {
    let exchange = Exchange::start(seeded(1, &["BTCUSDT"], 2000.0)).await.unwrap();
    for (path, combined) in [("/ws", false), ("/stream", true)] {
        let mut client = Client::connect(&exchange, path).await;
        let get = r#"{"method":"GET_PROPERTY","params":["combined"],"id":1}"#;
        assert_eq!(client.ask(get).await, format!("{{\"result\":{combined},\"id\":1}}"));
        let subscribe = r#"{"method":"SUBSCRIBE","params":["btcusdt@bookTicker"],"id":2}"#;
        assert_eq!(client.ask(subscribe).await, r#"{"result":null,"id":2}"#);
        assert_eq!(client.json().await.get("stream").is_some(), combined);
        let set = format!(
            "{{\"method\":\"SET_PROPERTY\",\"params\":[\"combined\",{}],\"id\":null}}",
            !combined
        );
        client.send(&set).await;
        while client.text().await != r#"{"result":null,"id":null}"# {}
        assert_eq!(client.json().await.get("stream").is_some(), !combined);
    }
    exchange.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn refusals_come_over_the_socket() {
    let exchange = Exchange::start(seeded(1, &["BTCUSDT"], 10.0)).await.unwrap();
    let mut client = Client::connect(&exchange, "/ws").await;
    for (request, refusal) in [
        ("[", "{\"code\":3,\"msg\":\"Invalid JSON: EOF while parsing a list at line 1 column 1\"}"),
        ("x", "{\"code\":3,\"msg\":\"Invalid JSON: expected value at line 1 column 1\"}"),
        (
            r#"{"method":"GET_PROPERTY","params":["x"],"id":5}"#,
            "{\"code\":0,\"msg\":\"Unknown property\",\"id\":5}",
        ),
    ] {
        assert_eq!(client.ask(request).await, refusal);
    }
    exchange.stop().await;
}
