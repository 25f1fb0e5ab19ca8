//! Nodes on loopback that gossip with one another.

use fts_core::time::SystemClock;

use super::*;

const SECRET: &str = "0123456789abcdef0123456789abcdef";
const PATIENCE: Duration = Duration::from_secs(30);

async fn node(
    name: &str,
    generation: u64,
    seeds: &[SocketAddr],
    secret: &str,
) -> (Gossip, SocketAddr) {
    let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let address = socket.local_addr().unwrap();
    let config = GossipConfig {
        name: name.into(),
        generation,
        advertise: address,
        seeds: seeds.iter().map(ToString::to_string).collect(),
        interval: Duration::from_millis(50),
        silence: Duration::from_millis(1_500),
        secret: Secret::new(secret).unwrap(),
    };
    (Gossip::start(socket, config, Arc::new(SystemClock)).await.unwrap(), address)
}

#[track_caller]
fn sees(
    gossip: &Gossip,
    expected: &'static str,
    what: fn(&Peer) -> String,
) -> impl Future<Output = ()> {
    let mut peers = gossip.peers();
    async move {
        let text = |peers: &[Peer]| peers.iter().map(what).collect::<Vec<_>>().join(" ");
        let seen = peers.wait_for(|peers| text(peers) == expected);
        let seen = tokio::time::timeout(PATIENCE, seen).await.map(|it| it.map(drop));
        if !matches!(seen, Ok(Ok(()))) {
            panic!("`{expected}` is awaited, `{}` is seen", text(&peers.borrow()));
        }
    }
}

fn who(peer: &Peer) -> String {
    format!("{}{}", if peer.is_alive { "" } else { "!" }, peer.name)
}

#[tokio::test]
async fn nodes_find_one_another_through_any_and_notice_who_is_gone() {
    let (a, address) = node("a", 1, &[], SECRET).await;
    let (b, _) = node("b", 1, &["127.0.0.1:1".parse().unwrap(), address], SECRET).await;
    let (c, _) = node("c", 1, &[address], SECRET).await;
    for it in [&a, &b, &c] {
        sees(it, "a b c", who).await;
    }
    b.publish("color", "blue").await;
    sees(&c, "a: b:blue c:", |it| format!("{}:{}", it.name, it.says("color"))).await;
    drop(b);
    sees(&a, "a !b c", who).await;
    sees(&c, "a !b c", who).await;
    let (b, _) = node("b", 2, &[address], SECRET).await;
    sees(&c, "a1 b2 c1", |it| format!("{}{}", it.name, it.generation)).await;
    sees(&c, "a b c", who).await;
    drop(b);
}

#[tokio::test]
async fn whose_process_has_ended_is_dead_before_it_was_silent_for_long() {
    let (a, address) = node("a", 1, &[], SECRET).await;
    let (b, there) = node("b", 1, &[address], SECRET).await;
    sees(&a, "a b", who).await;
    let how = |it: &Peer| format!("{}{}", who(it), if it.has_ended { " ended" } else { "" });
    // What is said of another address is no word of this process.
    a.ended().send(("b".into(), address)).await.unwrap();
    a.ended().send(("b".into(), there)).await.unwrap();
    sees(&a, "a !b ended", how).await;
    // It was a lie: it goes on, and is heard of again.
    sees(&a, "a b", how).await;
    drop(b);
    sees(&a, "a !b", how).await;
}

#[tokio::test]
async fn a_stranger_sees_nobody_and_is_seen_by_nobody() {
    let (a, address) = node("a", 1, &[], SECRET).await;
    let (stranger, _) = node("stranger", 1, &[address], "another secret, long enough").await;
    let (b, _) = node("b", 1, &[address], SECRET).await;
    sees(&a, "a b", who).await;
    sees(&b, "a b", who).await;
    sees(&stranger, "stranger", who).await;
}

#[tokio::test]
async fn much_is_told_in_many_datagrams() {
    let (a, address) = node("a", 1, &[], SECRET).await;
    let text: String = (0..40_000_u32)
        .map(|n| char::from(b'a' + u8::try_from(n.wrapping_mul(2_654_435_761) >> 24).unwrap() % 26))
        .collect();
    a.publish("once", &text).await;
    a.publish_at_length("much", &text).await;
    let (b, _) = node("b", 1, &[address], SECRET).await;
    let mut peers = b.peers();
    let told = peers.wait_for(|peers| {
        let is_it = |it: &Peer| {
            it.says("once") == text && it.says_at_length("much").as_ref() == Some(&text)
        };
        peers.iter().any(is_it)
    });
    tokio::time::timeout(PATIENCE, told).await.unwrap().unwrap();
}

#[tokio::test]
async fn two_that_live_under_one_name_are_rivals() {
    let (a, address) = node("a", 1, &[], SECRET).await;
    let (first, _) = node("b", 1, &[address], SECRET).await;
    let (_second, _) = node("b", 2, &[address], SECRET).await;
    for it in [&a, &first] {
        sees(it, "a1 b2!", |it| {
            format!("{}{}{}", it.name, it.generation, if it.has_rival { "!" } else { "" })
        })
        .await;
    }
}

#[test]
fn of_a_name_the_youngest_that_lives_counts() {
    let id = |generation| ChitchatId::new("n", generation, ([127, 0, 0, 1], 1).into());
    let check = |verdicts: &[(u64, bool)], expected: (u64, bool)| {
        let verdicts = verdicts.iter().map(|(it, alive)| (id(*it), *alive)).collect();
        assert_eq!(youngest(verdicts), [(id(expected.0), expected.1)]);
    };
    check(&[(1, true), (2, true)], (2, true));
    check(&[(2, true), (1, true)], (2, true));
    check(&[(1, true), (2, false)], (1, true));
    check(&[(1, false), (2, false)], (2, false));
}
