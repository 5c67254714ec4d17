//! Servers whose requests fail in a row.

use std::time::Instant;

use super::*;

const FIVE: Ejection = Ejection { failures: 5, time: Duration::from_secs(10), statuses: Vec::new() };

const NOBODY: [usize; 0] = [];

fn ejecting(servers: &[(&str, u16)]) -> Arc<Upstream> {
    upstream(UpstreamSpec { ejection: Some(FIVE), ..spec(servers) })
}

/// As many requests to this server fail.
fn fail(upstream: &Arc<Upstream>, place: usize, times: usize) {
    let endpoint = Arc::clone(&upstream.endpoints.load()[place]);
    (0..times).for_each(|_| upstream.failed(&endpoint));
}

fn out(upstream: &Arc<Upstream>) -> Vec<bool> {
    upstream.endpoints.load().iter().map(|endpoint| endpoint.is_ejected()).collect()
}

fn judge(upstream: &Arc<Upstream>, now: Instant) -> Vec<usize> {
    let mut news = Vec::new();
    upstream.judge(now, |server| news.push(server));
    news
}

#[test]
fn who_fails_in_a_row_gets_no_requests_until_its_time_is_over() {
    let (upstream, now) = (ejecting(THREE), Instant::now());
    fail(&upstream, 1, 4);
    assert_eq!(judge(&upstream, now), NOBODY);
    fail(&upstream, 1, 1);
    assert_eq!((judge(&upstream, now), judge(&upstream, now)), (vec![1], Vec::new()), "it is told once");
    assert_eq!(picks(&upstream, 30).keys().collect::<Vec<_>>(), ["10.0.0.1:80", "[::1]:80"]);
    assert_eq!(upstream.judge(now, |_| ()), Some(now + FIVE.time), "when to look again");

    judge(&upstream, now + FIVE.time - Duration::from_millis(1));
    assert_eq!(out(&upstream), [false, true, false]);
    assert_eq!(upstream.judge(now + FIVE.time, |_| ()), None);
    assert_eq!(out(&upstream), [false; 3]);
}

#[test]
fn an_answer_begins_the_count_anew() {
    let (upstream, now) = (ejecting(&THREE[..2]), Instant::now());
    for _ in 0..3 {
        fail(&upstream, 0, 4);
        upstream.endpoints.load()[0].answered();
    }
    assert_eq!(judge(&upstream, now), NOBODY);
}

#[test]
fn who_fails_at_once_when_it_is_back_is_out_for_longer_and_who_answers_is_not() {
    let (upstream, now) = (ejecting(&THREE[..2]), Instant::now());
    fail(&upstream, 0, 5);
    judge(&upstream, now);
    let back = now + FIVE.time;
    judge(&upstream, back);
    fail(&upstream, 0, 1);
    assert_eq!(judge(&upstream, back), [0]);
    assert_eq!(upstream.judge(back, |_| ()), Some(back + FIVE.time * 2));

    let back = back + FIVE.time * 2;
    judge(&upstream, back);
    upstream.endpoints.load()[0].answered();
    fail(&upstream, 0, 4);
    assert_eq!(judge(&upstream, back), NOBODY);
}

#[test]
fn half_of_the_servers_stay_in_however_they_fail() {
    for (servers, most) in [(&THREE[..1], 0), (&THREE[..2], 1), (THREE, 1)] {
        let upstream = ejecting(servers);
        (0..servers.len()).for_each(|place| fail(&upstream, place, 100));
        judge(&upstream, Instant::now());
        assert_eq!(out(&upstream).iter().filter(|out| **out).count(), most, "of {}", servers.len());
        assert!(upstream.open().is_ok());
    }
}

#[test]
fn who_is_down_counts_as_one_that_is_out() {
    let upstream = ejecting(THREE);
    take_down(&upstream, 0);
    fail(&upstream, 1, 100);
    assert_eq!(judge(&upstream, Instant::now()), NOBODY);
}

#[test]
fn who_is_out_is_better_than_nobody() {
    let upstream = ejecting(&THREE[..2]);
    fail(&upstream, 0, 5);
    judge(&upstream, Instant::now());
    take_down(&upstream, 1);
    assert_eq!(picks(&upstream, 3), BTreeMap::from([("10.0.0.1:80".to_owned(), 3)]));
}

#[test]
fn a_health_check_that_passes_does_not_bring_back_who_fails_requests() {
    let upstream = ejecting(&THREE[..2]);
    fail(&upstream, 0, 5);
    judge(&upstream, Instant::now());
    upstream.endpoints.load()[0].reached();
    assert_eq!(out(&upstream), [true, false]);
}

#[test]
fn without_ejection_nobody_is_out() {
    let upstream = upstream(spec(&THREE[..2]));
    fail(&upstream, 0, 100);
    assert_eq!(judge(&upstream, Instant::now()), NOBODY);
    assert_eq!(out(&upstream), [false, false]);
}

#[test]
fn statuses_are_failures_only_if_they_are_named() {
    let statuses = vec![503];
    let upstream = upstream(UpstreamSpec { ejection: Some(Ejection { statuses, ..FIVE }), ..spec(&THREE[..1]) });
    let picked = upstream.open().unwrap();
    let failures = |status: u16| {
        picked.answered(http::StatusCode::from_u16(status).unwrap());
        upstream.endpoints.load()[0].failures_in_a_row()
    };
    assert_eq!([503, 503, 200, 503, 500, 503, 404].map(failures), [1, 2, 0, 1, 0, 1, 0]);
}

#[tokio::test]
async fn it_is_done_beside_the_requests() {
    let time = Duration::from_millis(50);
    let upstream = upstream(UpstreamSpec { ejection: Some(Ejection { time, ..FIVE }), ..spec(&THREE[..2]) });
    let judged = Arc::clone(&upstream);
    let judging = tokio::spawn(async move { judged.keep_judging(|_| ()).await });
    let until = async |wanted: [bool; 2]| {
        let reached = async {
            while out(&upstream) != wanted {
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
        };
        tokio::time::timeout(Duration::from_secs(20), reached).await.unwrap();
    };
    fail(&upstream, 0, 5);
    until([true, false]).await;
    until([false, false]).await;
    judging.abort();
}
