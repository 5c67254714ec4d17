//! Tickets: sockets and streams of events for browsers that hold bearer tokens. No token stands in a URL.

use futures::StreamExt;
use futures::future::join_all;
use reqwest::Method;
use tokio::net::TcpStream;
use tokio_tungstenite::client_async;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;

use crate::harness::{ALICE, Answer, Browser, Cluster, EchoBackend, Portcullis, Setup, anon, client, in_time};
use crate::streams::websocket_echo;

async fn ticket(alice: &Browser) -> String {
    let answer = Answer::to(alice.with_token(Method::POST, "/ticket")).await.expect(200);
    assert_eq!(answer.header("cache-control"), Some("no-store"));
    assert_eq!(answer.json()["expires_in"], 30);
    answer.json()["ticket"].as_str().expect("a ticket").to_owned()
}

#[tokio::test]
async fn a_ticket_opens_one_request_at_whichever_proxy() {
    let app = EchoBackend::start().await;
    for setup in [Setup::Embedded, Setup::TwoOnRedis] {
        let config = format!("upstream: {}\ncredentials: [header, ticket]\n", app.url());
        let cluster = Cluster::start(setup, &config).await;
        let mut alice = Browser::logged_in(cluster.first(), &ALICE).await;
        let one = ticket(&alice).await;
        assert!(!one.contains('.') && one.len() < 64, "it is no token: {one}");
        // 20 at once, at both proxies: one of them gets through.
        let tries = (0..20).map(|number| {
            let gate = if number % 2 == 0 { cluster.first() } else { cluster.last() };
            Answer::to(client().get(gate.url(&format!("/events?ticket={one}"))))
        });
        let answers = join_all(tries).await;
        assert_eq!(answers.iter().filter(|answer| answer.status == 200).count(), 1, "{setup:?}");
        answers.into_iter().filter(|answer| answer.status != 200).for_each(|answer| drop(answer.expect(401)));
        assert_eq!(app.take_one().header("x-auth-subject"), Some("alice"));

        // It is worth what its access token is worth.
        let another = ticket(&alice).await;
        alice.logout().await.expect(204);
        anon(cluster.first(), &format!("/events?ticket={another}")).await.expect(401).because("session_ended");
        for wrong in ["x", &"A".repeat(22), "..", &another[1..]] {
            anon(cluster.first(), &format!("/events?ticket={wrong}")).await.expect(401);
        }
        assert!(app.take().is_empty());
        for gate in &cluster.gates {
            assert!(!gate.log().contains(&one) && !gate.log().contains(&another), "no ticket is logged");
        }
    }
}

#[tokio::test]
async fn a_socket_opened_by_a_ticket_ends_with_the_session() {
    let app = websocket_echo().await;
    let gate = Portcullis::start(&format!("upstream: {app}\ncredentials: [header, ticket]\n")).await;
    let mut alice = Browser::logged_in(&gate, &ALICE).await;
    let url = format!("ws://{}/socket?ticket={}", gate.listen, ticket(&alice).await);
    let mut request = url.into_client_request().expect("a request");
    request.headers_mut().insert("origin", gate.url("").parse().expect("a header value"));
    let stream = TcpStream::connect(gate.listen).await.expect("the gate listens");
    let (mut socket, _) = in_time("a handshake", client_async(request, stream)).await.expect("it opens");
    alice.logout().await.expect(204);
    while let Some(Ok(_)) = in_time("the end of the socket", socket.next()).await {}
}

#[tokio::test]
async fn where_no_route_takes_tickets_the_path_is_the_apps_own() {
    let app = EchoBackend::start().await;
    let gate = Portcullis::start(&format!("upstream: {}\n", app.url())).await;
    let alice = Browser::logged_in(&gate, &ALICE).await;
    Answer::to(alice.with_token(Method::POST, "/ticket")).await.expect(200);
    assert_eq!(app.take_one().target, "/ticket");
}
