use super::*;
use crate::provider::ErrorKind;

const PATIENT: Duration = Duration::from_secs(3600);

fn limits(rate: f64, burst: u32, concurrent: u32) -> Limits {
    Limits { requests_per_second: rate, burst, max_concurrent_requests: concurrent }
}

async fn acquire(limiter: &Arc<Limiter>) -> Result<Permit, Refusal> {
    limiter.acquire(Purpose::Work, PATIENT).await
}

/// Sends `n` requests one after the other, each answered at once, and gives the time that took.
async fn send(limiter: &Arc<Limiter>, n: u32) -> Duration {
    let start = Instant::now();
    for _ in 0..n {
        acquire(limiter).await.unwrap().finish(Outcome::Answered);
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
            let permit = acquire(&limiter).await.unwrap();
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
                let permit = acquire(&limiter).await.unwrap();
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
    let first = acquire(&limiter).await.unwrap();
    let _second = acquire(&limiter).await.unwrap();
    let third = tokio::spawn({
        let limiter = limiter.clone();
        async move { acquire(&limiter).await.unwrap() }
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
            let permit = acquire(&limiter).await.unwrap();
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
    acquire(&limiter).await.unwrap().finish(Outcome::Throttled(Some(Duration::from_secs(7))));
    assert_eq!(limiter.blocked_for(), Some(Duration::from_secs(7)));
    send(&limiter, 1).await;
    assert!(start.elapsed() >= Duration::from_secs(7));
    assert_eq!(limiter.blocked_for(), None);
    assert!(send(&limiter, 7).await >= Duration::from_millis(90), "70 % of 100/s, one by one");
}

#[tokio::test(start_paused = true)]
async fn a_pause_longer_than_the_patience_is_told_and_not_waited_for() {
    let limiter = Limiter::new(limits(100.0, 50, 8));
    acquire(&limiter).await.unwrap().finish(Outcome::Throttled(Some(Duration::from_secs(60))));
    let start = Instant::now();
    let refusal = limiter.acquire(Purpose::Work, Duration::from_secs(10)).await.unwrap_err();
    assert_eq!(refusal, Refusal::Paused(Duration::from_secs(60)));
    assert_eq!(start.elapsed(), Duration::ZERO);
}

#[tokio::test(start_paused = true)]
async fn pauses_that_nobody_names_double_up_to_a_minute_and_start_over_after_a_success() {
    let limiter = Limiter::new(limits(1000.0, 10, 1));
    let mut pauses = Vec::new();
    for _ in 0..8 {
        acquire(&limiter).await.unwrap().finish(Outcome::Throttled(None));
        pauses.push(limiter.blocked_for().unwrap().as_secs());
    }
    assert_eq!(pauses, [1, 2, 4, 8, 16, 32, 60, 60]);
    send(&limiter, 1).await;
    acquire(&limiter).await.unwrap().finish(Outcome::Throttled(None));
    assert_eq!(limiter.blocked_for(), Some(Duration::from_secs(1)));
}

#[tokio::test(start_paused = true)]
async fn requests_refused_together_count_as_one_refusal() {
    let limiter = Limiter::new(limits(100.0, 50, 8));
    let mut permits = Vec::new();
    for _ in 0..8 {
        permits.push(acquire(&limiter).await.unwrap());
    }
    for permit in permits {
        permit.finish(Outcome::Throttled(None));
    }
    assert_eq!(limiter.blocked_for(), Some(Duration::from_secs(1)));
    let pace = limiter.pace();
    assert!((pace - 99.0 * 0.7).abs() < 1e-9, "{pace}");
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
        acquire(&limiter).await.unwrap().finish(Outcome::NotSent);
    }
    assert_eq!(send(&limiter, 1).await, Duration::ZERO);
}

#[tokio::test(start_paused = true)]
async fn a_request_that_gives_up_waiting_leaves_its_place_to_the_next() {
    let limiter = Limiter::new(limits(1.0, 1, 1));
    let held = acquire(&limiter).await.unwrap();
    assert!(tokio::time::timeout(Duration::from_secs(1), acquire(&limiter)).await.is_err());
    drop(held);
    send(&limiter, 1).await;
}

fn failure() -> Outcome {
    Outcome::Failed(ProviderError::new(ErrorKind::Unreachable, "read", "no answer"), None)
}

/// A server that allows less than was configured, and how it is pressed by `concurrent` callers.
struct Pressed {
    /// Seconds since the last change of the server's rate.
    took: f64,
    answered: u32,
    refused: u32,
}

/// Sends until `wanted` are answered or `seconds` have passed.
async fn press(limiter: &Arc<Limiter>, server: &Arc<Mutex<Server>>, named: bool, wanted: u32, seconds: f64) -> Pressed {
    let (start, counts) = (Instant::now(), Arc::new(Mutex::new((0_u32, 0_u32))));
    let mut tasks = tokio::task::JoinSet::new();
    for _ in 0..8 {
        let (limiter, server, counts) = (limiter.clone(), server.clone(), counts.clone());
        tasks.spawn(async move {
            while counts.lock().unwrap().0 < wanted && start.elapsed().as_secs_f64() < seconds {
                let permit = acquire(&limiter).await.unwrap();
                tokio::time::sleep(Duration::from_millis(20)).await;
                let taken = server.lock().unwrap().takes();
                tokio::time::sleep(Duration::from_millis(20)).await;
                let mut counts = counts.lock().unwrap();
                if taken {
                    counts.0 += 1;
                    permit.finish(Outcome::Answered);
                } else {
                    counts.1 += 1;
                    permit.finish(Outcome::Throttled(named.then_some(Duration::from_secs(1))));
                }
            }
        });
    }
    while tasks.join_next().await.is_some() {}
    let (answered, refused) = *counts.lock().unwrap();
    Pressed { took: start.elapsed().as_secs_f64(), answered, refused }
}

#[tokio::test(start_paused = true)]
async fn a_limit_that_nobody_told_is_used_to_nine_tenths_with_few_refusals() {
    for named in [true, false] {
        for (rate, burst) in [(50.0, 50), (50.0, 10), (20.0, 20), (100.0, 20)] {
            let limiter = Limiter::new(limits(4.0 * rate, 200, 8));
            let server = Arc::new(Mutex::new(Server::new(rate, burst)));
            let wanted = (120.0 * rate) as u32;
            let Pressed { took, answered, refused } = press(&limiter, &server, named, wanted, 1e9).await;
            let least = (f64::from(answered) - f64::from(burst)) / rate;
            let ratio = took / least;
            let share = f64::from(refused) / f64::from(answered + refused);
            assert!(ratio <= 1.10 && share <= 0.02, "{rate}/s, burst {burst}, named {named}: {ratio:.3}, {share:.4}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn half_a_minute_after_a_limit_was_halved_or_doubled_it_is_used_again() {
    for factor in [0.5, 2.0] {
        let limiter = Limiter::new(limits(400.0, 200, 8));
        let server = Arc::new(Mutex::new(Server::new(50.0, 50)));
        press(&limiter, &server, true, u32::MAX, 60.0).await;
        {
            let mut server = server.lock().unwrap();
            (server.rate, server.burst) = (server.rate * factor, server.burst * factor);
        }
        press(&limiter, &server, true, u32::MAX, 30.0).await;
        // Over two cycles of the search, as one contains the pause that a refusal asks for.
        let Pressed { took, answered, .. } = press(&limiter, &server, true, u32::MAX, 50.0).await;
        let share = f64::from(answered) / took / (50.0 * factor);
        assert!(share >= 0.95, "times {factor}: {share:.3}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_small_policy_is_served_beside_a_huge_one_as_if_it_were_alone() {
    async fn ten(limiter: &Arc<Limiter>, name: &str) -> Duration {
        let start = Instant::now();
        Lane::new(name, 4)
            .scope(async {
                for _ in 0..10 {
                    let permit = acquire(limiter).await.unwrap();
                    tokio::time::sleep(Duration::from_millis(20)).await;
                    permit.finish(Outcome::Answered);
                }
            })
            .await;
        start.elapsed()
    }
    let limiter = Limiter::new(limits(10.0, 10, 4));
    send(&limiter, 9).await;
    let alone = ten(&limiter, "alone").await;
    let mut huge = tokio::task::JoinSet::new();
    for _ in 0..40 {
        let limiter = limiter.clone();
        huge.spawn(Lane::new("huge", 4).scope(async move {
            loop {
                let permit = acquire(&limiter).await.unwrap();
                tokio::time::sleep(Duration::from_millis(20)).await;
                permit.finish(Outcome::Answered);
            }
        }));
    }
    tokio::time::sleep(Duration::from_secs(60)).await;
    let beside = ten(&limiter, "beside").await;
    assert!(beside <= 2 * alone, "{beside:?} instead of {alone:?}");
}

#[tokio::test(start_paused = true)]
async fn a_policy_may_expect_its_share_of_the_pace() {
    let limiter = Limiter::new(limits(100.0, 1, 1));
    let held = acquire(&limiter).await.unwrap();
    let mut waiting = tokio::task::JoinSet::new();
    let other = limiter.clone();
    waiting.spawn(Lane::new("other", 4).scope(async move { acquire(&other).await.unwrap() }));
    tokio::task::yield_now().await;
    let pace = Lane::new("urgent", 16).scope(async { limiter.pace() }).await;
    assert!((pace - 0.8 * 99.0).abs() < 1e-9, "{pace}");
    drop(held);
    waiting.join_next().await.unwrap().unwrap();
}

#[tokio::test(start_paused = true)]
async fn requests_that_give_up_leave_nothing_behind() {
    let limiter = Limiter::new(limits(1.0, 1, 1));
    let held = acquire(&limiter).await.unwrap();
    for i in 0..100 {
        let lane = Lane::new(&format!("lane-{i}"), 1);
        let waited = tokio::time::timeout(Duration::from_millis(10), lane.scope(acquire(&limiter))).await;
        assert!(waited.is_err());
    }
    let left = |state: MutexGuard<'_, State>| (state.waiters.len(), state.lanes.heads().count());
    assert_eq!(left(limiter.state()), (0, 0));
    drop(held);
    send(&limiter, 1).await;
}

#[tokio::test(start_paused = true)]
async fn a_tenant_that_does_not_answer_is_tried_by_one_request_at_a_time() {
    let limiter = Limiter::new(limits(1000.0, 1000, 8));
    let sent = Arc::new(Mutex::new(Vec::new()));
    let start = Instant::now();
    let mut callers = tokio::task::JoinSet::new();
    for _ in 0..20 {
        let (limiter, sent) = (limiter.clone(), sent.clone());
        callers.spawn(async move {
            while start.elapsed() < Duration::from_secs(300) {
                match acquire(&limiter).await {
                    Ok(permit) => {
                        sent.lock().unwrap().push(start.elapsed().as_secs_f64());
                        tokio::time::sleep(Duration::from_millis(10)).await;
                        permit.finish(failure());
                    }
                    Err(Refusal::Absent(rest, cause)) => {
                        assert_eq!(cause.message, "no answer");
                        tokio::time::sleep(rest.max(Duration::from_millis(1))).await;
                    }
                    Err(other) => panic!("{other:?}"),
                }
            }
        });
    }
    while callers.join_next().await.is_some() {}
    let sent = sent.lock().unwrap();
    // Those on the way when it began, then 1, 2, 4, … 60 s apart.
    let probes: Vec<f64> = sent.iter().copied().filter(|at| *at > 0.5).collect();
    assert!(sent.len() - probes.len() <= 16, "{} before it was noticed", sent.len() - probes.len());
    assert!((8..=11).contains(&probes.len()), "{probes:?}");
}

#[tokio::test(start_paused = true)]
async fn a_good_answer_ends_an_outage_and_a_token_from_elsewhere_does_not() {
    let limiter = Limiter::new(limits(1000.0, 1000, 8));
    for _ in 0..breaker::THRESHOLD {
        acquire(&limiter).await.unwrap().finish(failure());
    }
    assert!(limiter.absent_for().is_some());
    tokio::time::sleep(Duration::from_secs(2)).await;
    limiter.acquire(Purpose::Token, PATIENT).await.unwrap().finish(Outcome::Answered);
    let probe = acquire(&limiter).await.expect("the probe goes on with the token");
    assert!(matches!(acquire(&limiter).await, Err(Refusal::Absent(..))), "and nobody else");
    drop(probe);
    acquire(&limiter).await.expect("a probe that was given up leaves its place").finish(Outcome::Answered);
    assert_eq!(limiter.absent_for(), None);
    send(&limiter, 10).await;
}

#[tokio::test(start_paused = true)]
async fn whoever_waits_when_an_outage_begins_is_told_at_once() {
    let limiter = Limiter::new(limits(0.01, 6, 5));
    let mut permits = Vec::new();
    for _ in 0..breaker::THRESHOLD {
        permits.push(acquire(&limiter).await.unwrap());
    }
    let waiting = tokio::spawn({
        let limiter = limiter.clone();
        async move { acquire(&limiter).await.map(|_| ()) }
    });
    tokio::task::yield_now().await;
    permits.into_iter().for_each(|permit| permit.finish(failure()));
    let start = Instant::now();
    assert!(matches!(waiting.await.unwrap(), Err(Refusal::Absent(..))));
    assert_eq!(start.elapsed(), Duration::ZERO);
}

#[tokio::test(start_paused = true)]
async fn whoever_fails_beyond_the_budget_goes_slowly_and_the_others_do_not() {
    let limiter = Limiter::new(limits(1000.0, 1000, 8));
    let failing = tokio::spawn(Lane::new("failing", 16).scope({
        let limiter = limiter.clone();
        async move {
            let start = Instant::now();
            let mut sent = 0;
            while start.elapsed() < Duration::from_secs(60) {
                acquire(&limiter).await.unwrap().finish(failure());
                sent += 1;
                // Now and then somebody else has a good answer, so that it is no outage.
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
            sent
        }
    }));
    let well = tokio::spawn(Lane::new("well", 1).scope({
        let limiter = limiter.clone();
        async move {
            let start = Instant::now();
            for _ in 0..1200 {
                acquire(&limiter).await.unwrap().finish(Outcome::Answered);
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
            start.elapsed()
        }
    }));
    let (failing, well) = (failing.await.unwrap(), well.await.unwrap());
    // A fifth of all requests, the reserve, and one a second.
    let covered = 0.2 * 1200.0 / 0.8 + 10.0 + 60.0;
    assert!(f64::from(failing) <= 1.1 * covered, "{failing} failing requests, {covered} are covered");
    assert!(well <= Duration::from_secs(66), "{well:?}");
}

#[tokio::test(start_paused = true)]
async fn a_process_that_starts_sends_nothing_at_first_and_no_burst_then() {
    let limiter = Limiter::starting(limits(10.0, 10, 4), "tenant", Instant::now());
    let start = Instant::now();
    send(&limiter, 1).await;
    assert_eq!(start.elapsed(), QUIET_START);
    assert!(send(&limiter, 10).await >= Duration::from_millis(600), "half a second has brought five tokens, not ten");
}
