//! Servers that fail and come back.

use std::sync::Mutex;
use std::sync::atomic::AtomicU16;

use pingora::upstreams::peer::HttpPeer;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::JoinHandle;

use super::*;

const CHECK: HealthCheckSpec =
    HealthCheckSpec { path: None, interval: Duration::from_millis(10), timeout: Duration::from_secs(2) };

/// Upstreams that run, and the last word on each of the first upstream's servers.
struct Running {
    upstreams: Arc<Upstreams>,
    up: Arc<Mutex<BTreeMap<usize, bool>>>,
    end: watch::Sender<bool>,
    task: JoinHandle<()>,
}

fn run(spec: UpstreamSpec) -> Running {
    let up = Arc::<Mutex<BTreeMap<usize, bool>>>::default();
    let told = Arc::clone(&up);
    let report = move |upstream: usize, news: News| {
        assert_eq!(upstream, 0);
        if let News::Up { server, up } = news {
            told.lock().unwrap().insert(server, up);
        }
    };
    let upstreams = Arc::new(Upstreams::new([spec], None, report).unwrap());
    let (end, ending) = watch::channel(false);
    let running = Arc::clone(&upstreams);
    let task = tokio::spawn(async move { running.run(ending).await });
    Running { upstreams, up, end, task }
}

impl Running {
    fn upstream(&self) -> &Arc<Upstream> {
        self.upstreams.get(0).unwrap()
    }

    /// Waits until this has been reported of the servers.
    async fn until_up(&self, expected: &[bool]) {
        let expected = expected.iter().copied().enumerate().collect::<BTreeMap<_, _>>();
        let reached = async {
            while *self.up.lock().unwrap() != expected {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        let in_time = tokio::time::timeout(Duration::from_secs(20), reached).await;
        assert!(in_time.is_ok(), "expected {expected:?}, last {:?}", self.up.lock().unwrap());
    }
}

/// A listener on a loopback address. One that dies needs an address of its own: nobody else takes its port meanwhile.
async fn listener(host: &str) -> (TcpListener, u16) {
    let listener = TcpListener::bind((host, 0)).await.unwrap();
    let port = listener.local_addr().unwrap().port();
    (listener, port)
}

#[tokio::test]
async fn a_dead_server_is_passed_over_and_comes_back() {
    let ((alive, alive_port), (dying, dying_port)) = (listener("127.0.0.1").await, listener("127.0.0.2").await);
    let servers = [("127.0.0.1", alive_port), ("127.0.0.2", dying_port)];
    let running = run(UpstreamSpec { health_check: Some(CHECK), ..spec(&servers) });
    running.until_up(&[true, true]).await;
    assert_eq!(picks(running.upstream(), 4).len(), 2);

    drop(dying);
    running.until_up(&[true, false]).await;
    assert_eq!(picks(running.upstream(), 4), BTreeMap::from([(alive.local_addr().unwrap().to_string(), 4)]));

    let _back = TcpListener::bind(("127.0.0.2", dying_port)).await.unwrap();
    running.until_up(&[true, true]).await;
    assert_eq!(picks(running.upstream(), 4).len(), 2);
}

#[tokio::test]
async fn none_is_picked_when_all_are_down() {
    let (dying, port) = listener("127.0.0.3").await;
    let running = run(UpstreamSpec { health_check: Some(CHECK), ..spec(&[("127.0.0.3", port)]) });
    running.until_up(&[true]).await;
    drop(dying);
    running.until_up(&[false]).await;
    assert!(running.upstream().open().is_err());
}

#[tokio::test]
async fn without_a_health_check_a_server_comes_back_when_it_can_be_reached() {
    let (alive, port) = listener("127.0.0.1").await;
    let dead = listener("127.0.0.4").await.1;
    let running = run(spec(&[("127.0.0.1", port), ("127.0.0.4", dead)]));
    running.until_up(&[true, true]).await;
    let upstream = running.upstream();
    let picked = [upstream.open().unwrap(), upstream.open().unwrap()];
    picked.iter().find(|picked| address(picked).ip().to_string() == "127.0.0.4").unwrap().connect_failed();
    running.until_up(&[true, false]).await;
    assert_eq!(picks(upstream, 4), BTreeMap::from([(alive.local_addr().unwrap().to_string(), 4)]));

    let _back = TcpListener::bind(("127.0.0.4", dead)).await.unwrap();
    running.until_up(&[true, true]).await;
    assert_eq!(picks(upstream, 4).len(), 2);
}

#[tokio::test]
async fn a_path_must_be_answered_well() {
    let (listener, port) = listener("127.0.0.1").await;
    let status = Arc::new(AtomicU16::new(200));
    let heads = Arc::<Mutex<Vec<String>>>::default();
    let (answering, seen) = (Arc::clone(&status), Arc::clone(&heads));
    tokio::spawn(async move {
        while let Ok((mut socket, _)) = listener.accept().await {
            let mut head = vec![0; 4096];
            let length = socket.read(&mut head).await.unwrap();
            seen.lock().unwrap().push(String::from_utf8_lossy(&head[..length]).into_owned());
            let answer = format!("HTTP/1.1 {} X\r\nContent-Length: 2\r\n\r\nok", answering.load(Ordering::Relaxed));
            let _ = socket.write_all(answer.as_bytes()).await;
        }
    });
    let check = HealthCheckSpec { path: Some("/ping?deep=1".to_owned()), ..CHECK };
    let running = run(UpstreamSpec { health_check: Some(check), ..spec(&[("127.0.0.1", port)]) });
    running.until_up(&[true]).await;
    for (code, up) in [(500, false), (204, true), (404, false), (302, true), (401, false)] {
        status.store(code, Ordering::Relaxed);
        running.until_up(&[up]).await;
    }
    let head = heads.lock().unwrap()[0].to_lowercase();
    assert!(head.starts_with("get /ping?deep=1 http/1.1\r\n"), "{head}");
    assert!(head.contains(&format!("\r\nhost: 127.0.0.1:{port}\r\n")), "{head}");
}

#[tokio::test]
async fn a_server_that_says_nothing_is_down() {
    // The kernel takes connections for it; nobody answers.
    let (_silent, port) = listener("127.0.0.1").await;
    let check = HealthCheckSpec { path: Some("/ping".to_owned()), timeout: Duration::from_millis(50), ..CHECK };
    let running = run(UpstreamSpec { health_check: Some(check), ..spec(&[("127.0.0.1", port)]) });
    running.until_up(&[false]).await;
    assert!(running.upstream().open().is_err());
}

#[tokio::test]
async fn http2_with_prior_knowledge_is_checked_as_it_is_spoken() {
    let (listener, port) = listener("127.0.0.1").await;
    tokio::spawn(async move {
        while let Ok((socket, _)) = listener.accept().await {
            tokio::spawn(async move {
                let mut connection = h2::server::handshake(socket).await.unwrap();
                while let Some(Ok((_, mut respond))) = connection.accept().await {
                    let _ = respond.send_response(http::Response::new(()), true);
                }
            });
        }
    });
    let connector = pingora::connectors::http::Connector::new(None);
    let upstream = upstream(UpstreamSpec { http2: true, ..spec(&[("127.0.0.1", port)]) });
    let check = async |peer: &HttpPeer| probe::get(&connector, peer, "app", "/ping", CHECK.timeout).await;
    for _ in 0..3 {
        assert_eq!(check(&upstream.open().unwrap()).await, Ok(()));
    }
    let speaks_http1 = super::upstream(spec(&[("127.0.0.1", port)]));
    assert!(check(&speaks_http1.open().unwrap()).await.is_err());
}

#[tokio::test]
async fn the_end_of_the_process_ends_it() {
    let running = run(spec(&[("127.0.0.1", 9)]));
    running.until_up(&[true]).await;
    running.end.send(true).unwrap();
    running.task.await.unwrap();
}
