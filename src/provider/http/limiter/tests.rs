use super::*;

const PATIENT: Duration = Duration::from_secs(3600);

fn limits(rate: f64, burst: u32, concurrent: u32) -> Limits {
    Limits { requests_per_second: rate, burst, max_concurrent_requests: concurrent }
}

/// Sends `n` requests one after the other, each answered at once, and gives the time that took.
async fn send(limiter: &Arc<Limiter>, n: u32) -> Duration {
    let start = Instant::now();
    for _ in 0..n {
        limiter.acquire(PATIENT).await.unwrap().finish(Outcome::Answered);
    }
    start.elapsed()
}

/// A server's own token bucket.
struct Server {
    rate: f64,
    burst: f64,
    tokens: f64,
    last: Instant,
    start: Instant,
}

impl Server {
    fn new(rate: f64, burst: u32) -> Self {
        Self { rate, burst: burst.into(), tokens: burst.into(), last: Instant::now(), start: Instant::now() }
    }

    fn takes(&mut self) -> bool {
        let now = Instant::now();
        self.tokens = (self.tokens + (now - self.last).as_secs_f64() * self.rate).min(self.burst);
        self.last = now;
        let takes = self.tokens >= 1.0;
        if takes {
            self.tokens -= 1.0;
        }
        takes
    }
}

#[tokio::test(start_paused = true)]
async fn a_server_with_the_same_bucket_never_refuses_and_is_used_to_at_least_96_percent() {
    for (rate, burst) in [(50.0, 50), (200.0, 10), (10.0, 10), (3.0, 2)] {
        let (limiter, mut server) = (Limiter::new(limits(rate, burst, 8)), Server::new(rate, burst));
        let start = Instant::now();
        for _ in 0..1000 {
            let permit = limiter.acquire(PATIENT).await.unwrap();
            assert!(server.takes(), "refused at {rate}/s, burst {burst}");
            permit.finish(Outcome::Answered);
        }
        let least = (1000.0 - f64::from(burst)) / rate;
        let took = start.elapsed().as_secs_f64();
        assert!(took <= 1.04 * least, "{took} s instead of {least} s at {rate}/s, burst {burst}");
    }
}

#[tokio::test(start_paused = true)]
async fn requests_that_are_held_up_and_arrive_together_are_not_refused_either() {
    for (rate, burst) in [(200.0, 20), (50.0, 50), (10.0, 10)] {
        let limiter = Limiter::new(limits(rate, burst, 8));
        let server = Arc::new(Mutex::new(Server::new(rate, burst)));
        let mut tasks = Vec::new();
        for i in 0..1000_u64 {
            let (limiter, server) = (limiter.clone(), server.clone());
            tasks.push(tokio::spawn(async move {
                let permit = limiter.acquire(PATIENT).await.unwrap();
                // Quick on the whole, with stalls now and then that hold up everything on the way.
                let stalled = if Instant::now().duration_since(server.lock().unwrap().start).as_millis() % 1000 < 200 {
                    250
                } else {
                    0
                };
                tokio::time::sleep(Duration::from_millis(stalled + i * 7919 % 23)).await;
                let taken = server.lock().unwrap().takes();
                tokio::time::sleep(Duration::from_millis(i * 104_729 % 17)).await;
                permit.finish(Outcome::Answered);
                taken
            }));
        }
        for task in tasks {
            assert!(task.await.unwrap(), "refused at {rate}/s, burst {burst}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_burst_of_one_is_one_request_at_a_time_interval() {
    let limiter = Limiter::new(limits(1.0, 1, 1));
    assert_eq!(send(&limiter, 1).await, Duration::ZERO);
    assert!(send(&limiter, 1).await >= Duration::from_secs(1));
}

#[tokio::test(start_paused = true)]
async fn no_more_requests_are_on_the_way_than_allowed() {
    let limiter = Limiter::new(limits(1000.0, 1000, 2));
    let first = limiter.acquire(PATIENT).await.unwrap();
    let _second = limiter.acquire(PATIENT).await.unwrap();
    let third = tokio::spawn({
        let limiter = limiter.clone();
        async move { limiter.acquire(PATIENT).await.unwrap() }
    });
    tokio::time::sleep(Duration::from_secs(60)).await;
    assert!(!third.is_finished());
    drop(first);
    third.await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn waiting_requests_are_admitted_in_order() {
    let limiter = Limiter::new(limits(10.0, 1, 1));
    let order = Arc::new(Mutex::new(Vec::new()));
    let mut tasks = Vec::new();
    for i in 0..20 {
        let (limiter, order) = (limiter.clone(), order.clone());
        tasks.push(tokio::spawn(async move {
            let permit = limiter.acquire(PATIENT).await.unwrap();
            order.lock().unwrap().push(i);
            permit.finish(Outcome::Answered);
        }));
        tokio::task::yield_now().await;
    }
    for task in tasks {
        task.await.unwrap();
    }
    assert_eq!(*order.lock().unwrap(), (0..20).collect::<Vec<_>>());
}

#[tokio::test(start_paused = true)]
async fn a_named_pause_stops_everybody_that_long_and_no_burst_follows_it() {
    let limiter = Limiter::new(limits(100.0, 50, 8));
    let start = Instant::now();
    limiter.acquire(PATIENT).await.unwrap().finish(Outcome::Throttled(Some(Duration::from_secs(7))));
    assert_eq!(limiter.blocked_for(), Some(Duration::from_secs(7)));
    send(&limiter, 1).await;
    assert!(start.elapsed() >= Duration::from_secs(7));
    assert_eq!(limiter.blocked_for(), None);
    assert!(send(&limiter, 7).await >= Duration::from_millis(90), "70 % of 100/s, one by one");
}

#[tokio::test(start_paused = true)]
async fn a_pause_longer_than_the_patience_is_told_and_not_waited_for() {
    let limiter = Limiter::new(limits(100.0, 50, 8));
    limiter.acquire(PATIENT).await.unwrap().finish(Outcome::Throttled(Some(Duration::from_secs(60))));
    let start = Instant::now();
    assert_eq!(limiter.acquire(Duration::from_secs(10)).await.unwrap_err(), Duration::from_secs(60));
    assert_eq!(start.elapsed(), Duration::ZERO);
}

#[tokio::test(start_paused = true)]
async fn pauses_that_nobody_names_double_up_to_a_minute_and_start_over_after_a_success() {
    let limiter = Limiter::new(limits(1000.0, 10, 1));
    let mut pauses = Vec::new();
    for _ in 0..8 {
        limiter.acquire(PATIENT).await.unwrap().finish(Outcome::Throttled(None));
        pauses.push(limiter.blocked_for().unwrap().as_secs());
    }
    assert_eq!(pauses, [1, 2, 4, 8, 16, 32, 60, 60]);
    send(&limiter, 1).await;
    limiter.acquire(PATIENT).await.unwrap().finish(Outcome::Throttled(None));
    assert_eq!(limiter.blocked_for(), Some(Duration::from_secs(1)));
}

#[tokio::test(start_paused = true)]
async fn requests_refused_together_count_as_one_refusal() {
    let limiter = Limiter::new(limits(100.0, 50, 8));
    let mut permits = Vec::new();
    for _ in 0..8 {
        permits.push(limiter.acquire(PATIENT).await.unwrap());
    }
    for permit in permits {
        permit.finish(Outcome::Throttled(None));
    }
    assert_eq!(limiter.blocked_for(), Some(Duration::from_secs(1)));
    let rate = limiter.state().rate;
    assert!((rate - 99.0 * 0.7).abs() < 1e-9, "{rate}");
}

#[tokio::test(start_paused = true)]
async fn the_rate_shrinks_to_a_floor_and_recovers_to_what_is_configured() {
    let limiter = Limiter::new(limits(10.0, 10, 1));
    for _ in 0..20 {
        limiter.acquire(PATIENT).await.unwrap().finish(Outcome::Throttled(Some(Duration::from_secs(1))));
    }
    assert_eq!(limiter.state().rate, FLOOR);
    send(&limiter, 300).await;
    assert_eq!(limiter.state().rate, limits(10.0, 10, 1).rate());
}

#[tokio::test(start_paused = true)]
async fn a_configured_rate_below_the_floor_is_not_raised_to_it() {
    let limiter = Limiter::new(limits(0.1, 1, 1));
    limiter.acquire(PATIENT).await.unwrap().finish(Outcome::Throttled(Some(Duration::from_secs(1))));
    assert!(limiter.state().rate <= 0.1);
}

#[tokio::test(start_paused = true)]
async fn new_limits_hold_for_requests_that_wait_already() {
    let limiter = Limiter::new(limits(0.01, 1, 1));
    send(&limiter, 1).await;
    let waiting = tokio::spawn({
        let limiter = limiter.clone();
        async move { send(&limiter, 1).await }
    });
    tokio::time::sleep(Duration::from_secs(1)).await;
    limiter.set_limits(limits(10.0, 10, 4));
    assert!(waiting.await.unwrap() < Duration::from_secs(2));
    assert_eq!(limiter.limits(), limits(10.0, 10, 4));
}

#[tokio::test(start_paused = true)]
async fn a_request_that_was_not_sent_gives_its_token_back() {
    let limiter = Limiter::new(limits(0.01, 1, 1));
    for _ in 0..10 {
        limiter.acquire(PATIENT).await.unwrap().finish(Outcome::NotSent);
    }
    assert_eq!(send(&limiter, 1).await, Duration::ZERO);
}

#[tokio::test(start_paused = true)]
async fn a_request_that_gives_up_waiting_leaves_its_place_to_the_next() {
    let limiter = Limiter::new(limits(1.0, 1, 1));
    let held = limiter.acquire(PATIENT).await.unwrap();
    assert!(tokio::time::timeout(Duration::from_secs(1), limiter.acquire(PATIENT)).await.is_err());
    drop(held);
    send(&limiter, 1).await;
}

#[tokio::test(start_paused = true)]
async fn senseless_limits_neither_divide_by_zero_nor_stop_for_ever() {
    for rate in [0.0, -1.0, f64::NAN, f64::INFINITY] {
        let limiter = Limiter::new(limits(rate, 0, 0));
        assert!(send(&limiter, 2).await <= Duration::from_secs(102));
    }
}
