use std::sync::Arc;

use password_reset_operator::plan::observed::{AccountId, Cursor, Enforceable, Listing, Mark, SetKind, UserKey};
use password_reset_operator::plan::observed::{ChangeTime, Credential};
use password_reset_operator::plan::step::Step;
use password_reset_operator::provider::http::{ClientAuth, Limiter, Limits};
use password_reset_operator::provider::pingone::{CAPABILITIES, PingOne, PingOneConfig};
use password_reset_operator::provider::{ErrorKind, Provider};
use simulators::pingone::{DELETE_SESSION, ENVIRONMENT, FORCE_CHANGE, LIST_USERS, READ_PASSWORD, READ_USER, TOKEN};
use simulators::{
    Action, CallFault, Class, Effect, Faults, Handle, Options, Paging, Play, Population, RateLimit, RetryAfter, Share,
    Trap, When,
};

use super::{assert_clean, campaign, closed, open, rows, settings, url};

async fn start(options: Options) -> Handle {
    simulators::PingOne::start(options).await.expect("a simulator")
}

fn config(simulator: &Handle, path: &str) -> PingOneConfig {
    let credentials = simulator.credentials();
    PingOneConfig {
        environment_id: simulator.environment_id(),
        worker_environment_id: Some(simulator.worker_environment_id()),
        client_auth: ClientAuth::Basic,
        api_base: url(&format!("{}{path}", simulator.base_url())),
        auth_base: url(&simulator.auth_url()),
        client_id: credentials.client_id,
        client_secret: credentials.client_secret.into(),
        page_size: CAPABILITIES.page_size,
    }
}

fn connect(simulator: &Handle) -> PingOne {
    PingOne::connect(config(simulator, "/v1"), settings(&[&simulator.base_url(), &simulator.auth_url()]))
        .expect("a client")
}

fn of_class(simulator: &Handle, class: Class) -> simulators::User {
    simulator.users().into_iter().find(|user| user.class == class).expect("a user of that class")
}

#[tokio::test]
async fn a_campaign_over_everybody_costs_one_read_one_write_and_the_pages() {
    let simulator = start(Options::ordinary(1_000)).await;
    let provider = connect(&simulator);
    let (reads, written, seen) = campaign(&provider, "2100-01-01T00:00:00Z".parse().unwrap()).await;
    assert_eq!((reads, written, seen), (1_000, 1_000, 1_000));
    assert_eq!(simulator.count(LIST_USERS), 5);
    assert_eq!(simulator.count(TOKEN), 1);
    assert_eq!(simulator.counters().total(), 1_000 + 1_000 + 5 + 1, "r + w + P and one token");
    assert!(simulator.requirements().values().all(|count| *count == 1));
}

#[tokio::test]
async fn every_awkward_account_is_shown_as_it_is() {
    let simulator = start(Options::awkward(300)).await;
    let provider = connect(&simulator);
    let (reads, ..) = campaign(&provider, "2000-01-01T00:00:00Z".parse().unwrap()).await;
    let federated = simulator.users().iter().filter(|user| user.class == Class::Federated).count() as u64;
    assert_eq!(reads, 300 - federated);
    assert_eq!(
        simulator.count(READ_PASSWORD),
        reads + simulator.count(FORCE_CHANGE) - simulator.requirements().len() as u64
    );

    for row in rows(&provider, &Listing::Tenant).await.unwrap() {
        let user = simulator.user(&row.id.0).unwrap();
        let account = provider.complete(row).await.unwrap();
        assert_eq!(account.username.as_deref(), Some(user.username.as_str()));
        assert_eq!(account.disabled, Some(user.disabled));
        let shown = (account.credential, account.mark, account.locked);
        let marked = if user.marked { Mark::Marked } else { Mark::Unmarked };
        let wanted = match user.class {
            Class::Federated => (Credential::Federated, Mark::NotGiven, Some(false)),
            Class::Gateway => (Credential::Federated, Mark::Unmarked, Some(false)),
            Class::NoPassword => (Credential::NoPassword, Mark::Unmarked, Some(false)),
            Class::LockedOut => (Credential::Local, Mark::Hidden, Some(true)),
            Class::Expired => (Credential::Local, Mark::Marked, Some(false)),
            Class::AccountLocked => (Credential::Local, marked, Some(true)),
            _ => (Credential::Local, marked, Some(false)),
        };
        assert_eq!(shown, wanted, "{:?}", user.class);
        let millis = |at: Option<jiff::Timestamp>| at.map(|at| at.as_millisecond());
        match (user.class, account.changed) {
            (Class::Federated, changed) => assert_eq!(changed, ChangeTime::NotGiven),
            (Class::ChangeTimeUnknown, changed) => assert_eq!(changed, ChangeTime::Absent),
            (_, ChangeTime::At(at)) => assert_eq!(Some(at.as_millisecond()), millis(user.changed_at)),
            (Class::Gateway | Class::NoPassword, ChangeTime::Absent) => {}
            (class, changed) => panic!("{class:?}: {changed:?}"),
        }
    }
}

#[tokio::test]
async fn an_answer_without_the_mark_is_no_read_back_and_a_read_tells() {
    let classes = [(Class::SampleAnswer, Share::Count(1)), (Class::WithoutEffect, Share::Count(1))];
    let simulator = start(Options::new(Population::with(3, &classes))).await;
    let provider = connect(&simulator);
    for (class, mark) in [(Class::SampleAnswer, Mark::Marked), (Class::WithoutEffect, Mark::Unmarked)] {
        let id = AccountId(of_class(&simulator, class).id);
        let applied = provider.apply(&Step::RequireChange(id.clone()), &open()).await.unwrap();
        assert_eq!((applied.written, applied.seen), (true, None), "{class:?}");
        assert_eq!(provider.read_back(&id).await.unwrap().mark, mark, "{class:?}");
    }
}

#[tokio::test]
async fn both_forms_of_the_base_address_are_the_same() {
    let simulator = start(Options::ordinary(3)).await;
    for path in ["", "/", "/v1", "/v1/"] {
        let settings = settings(&[&simulator.base_url(), &simulator.auth_url()]);
        let provider = PingOne::connect(config(&simulator, path), settings).unwrap();
        assert_eq!(rows(&provider, &Listing::Tenant).await.unwrap().len(), 3, "{path:?}");
    }
}

#[tokio::test]
async fn verification_names_the_tenant_in_three_calls() {
    let mut options = Options::ordinary(7);
    options.separate_worker_environment = true;
    let simulator = start(options).await;
    let provider = connect(&simulator);
    let tenant = provider.verify(true).await.unwrap();
    assert_eq!(tenant.id, simulator.environment_id());
    assert_eq!(tenant.name.as_deref(), Some("Simulated environment"));
    assert_eq!(tenant.users, Some(7));
    assert_eq!(tenant.enforceable, Enforceable::Yes);
    assert_eq!(simulator.counters().total(), 3 + 1);
    assert!(provider.clock().is_some());
}

#[tokio::test]
async fn a_wrong_credential_is_told_once_and_not_repeated() {
    let simulator = start(Options::ordinary(3).faults(Faults { refuse_credentials: true, ..Faults::default() })).await;
    let provider = connect(&simulator);
    for _ in 0..5 {
        let error = provider.list(&Listing::Tenant, None).await.unwrap_err();
        assert_eq!(error.kind, ErrorKind::AuthenticationFailed);
        assert!(error.message.contains("invalid_client"));
        assert_clean(&error);
    }
    assert_eq!(simulator.counters().total(), 1);
    assert_eq!(provider.verify(true).await.unwrap_err().kind, ErrorKind::AuthenticationFailed);
    assert_eq!(simulator.counters().total(), 2, "a probe is one call");
}

#[tokio::test]
async fn a_missing_permission_is_no_bad_token_whatever_its_status() {
    for permission_as_401 in [false, true] {
        let faults = Faults { forbid_everything: true, permission_as_401, ..Faults::default() };
        let simulator = start(Options::ordinary(3).faults(faults)).await;
        let provider = connect(&simulator);
        let error = provider.verify(false).await.unwrap_err();
        assert_eq!(error.kind, ErrorKind::PermissionDenied);
        assert!(error.message.contains("Identity Data Admin"), "{error}");
        assert_eq!(simulator.count(TOKEN), 1);
    }
}

#[tokio::test]
async fn a_user_that_may_not_be_changed_is_forbidden_and_the_token_is_kept() {
    for permission_as_401 in [false, true] {
        let classes = [(Class::Forbidden, Share::Count(1))];
        let options = Options::new(Population::with(3, &classes));
        let simulator = start(options.faults(Faults { permission_as_401, ..Faults::default() })).await;
        let provider = connect(&simulator);
        let id = AccountId(of_class(&simulator, Class::Forbidden).id);
        let error = provider.apply(&Step::RequireChange(id), &open()).await.unwrap_err();
        assert_eq!((error.kind, error.effect_unknown), (ErrorKind::Forbidden, false));
        assert_eq!(simulator.count(FORCE_CHANGE), 1);
        assert_eq!(simulator.count(TOKEN), 1);
    }
}

#[tokio::test]
async fn a_revoked_token_costs_one_fresh_one() {
    let simulator = start(Options::ordinary(3)).await;
    let provider = connect(&simulator);
    provider.verify(false).await.unwrap();
    simulator.revoke_tokens();
    let id = AccountId(simulator.user_at(0).id);
    assert!(provider.apply(&Step::RequireChange(id), &open()).await.unwrap().seen.is_some());
    assert_eq!(simulator.count(TOKEN), 2);
    assert_eq!(simulator.requirements().values().sum::<u32>(), 1);
}

#[tokio::test]
async fn accounts_that_have_nothing_to_change_are_rejected_with_the_code() {
    for (class, code) in [
        (Class::NoPassword, "NO_PASSWORD"),
        (Class::Gateway, "ACCOUNT_NOT_USABLE"),
        (Class::Federated, "ACCOUNT_NOT_USABLE"),
    ] {
        let simulator = start(Options::new(Population::with(2, &[(class, Share::Count(1))]))).await;
        let id = AccountId(of_class(&simulator, class).id);
        let error = connect(&simulator).apply(&Step::RequireChange(id), &open()).await.unwrap_err();
        assert_eq!(error.kind, ErrorKind::Rejected);
        assert!(error.message.contains(code), "{error}");
    }
}

#[tokio::test]
async fn a_closed_gate_lets_no_write_out() {
    let simulator = start(Options::ordinary(20)).await;
    let provider = connect(&simulator);
    let user = simulator.users().into_iter().find(|user| user.sessions > 0).expect("somebody is signed in");
    let id = AccountId(user.id);
    for step in [Step::RequireChange(id.clone()), Step::RevokeSessions(id)] {
        let error = provider.apply(&step, &closed()).await.unwrap_err();
        assert_eq!((error.kind, error.effect_unknown), (ErrorKind::Stopped, false));
    }
    assert!(simulator.ledger().is_empty());
    assert_eq!(simulator.count(FORCE_CHANGE) + simulator.count(DELETE_SESSION), 0);
    assert_eq!(provider.apply(&Step::RequireEverybody, &open()).await.unwrap_err().kind, ErrorKind::Unsupported);
}

#[tokio::test]
async fn users_are_found_by_name_address_and_id() {
    let simulator = start(Options::new(Population::with(50, &[(Class::Lookalike, Share::Count(1))]))).await;
    let provider = connect(&simulator);
    let user = simulator.user_at(7);
    let ids = [user.id.clone(), user.id.to_uppercase()].map(UserKey::Id);
    let keys = [UserKey::Username(user.username.to_uppercase())].into_iter().chain(ids);
    for key in keys {
        let before = simulator.counters().total();
        let found = provider.find(&key).await.unwrap();
        assert_eq!(found.iter().map(|account| &account.id.0).collect::<Vec<_>>(), [&user.id], "{key:?}");
        assert!(simulator.counters().total() - before <= 2, "one call, and the token at first");
    }
    let twin = of_class(&simulator, Class::Lookalike);
    assert_eq!(provider.find(&UserKey::Email(twin.email)).await.unwrap().len(), 2, "two users share an address");
    for nobody in [
        UserKey::Username("nobody\" or username sw \"".into()),
        UserKey::Username("a\nb".into()),
        UserKey::Email("nobody@corp.example".into()),
        UserKey::Id("not-a-uuid".into()),
        UserKey::Id("..".into()),
        UserKey::Id("3f0c1f7e-7a52-4c5a-9a36-6d7c7c3b0a11".into()),
    ] {
        assert_eq!(provider.find(&nobody).await.unwrap(), [], "{nobody:?}");
    }
}

#[tokio::test]
async fn groups_and_populations_are_found_by_their_exact_name_and_listed() {
    let simulator = start(Options::ordinary(60)).await;
    let provider = connect(&simulator);
    let group = provider.sets(SetKind::Group, "contractors").await.unwrap();
    assert_eq!(group, simulator.group_ids("contractors"));
    assert_eq!(provider.sets(SetKind::Group, "twins").await.unwrap().len(), 2);
    assert!(provider.sets(SetKind::Group, "Contractors").await.unwrap().is_empty());
    assert!(provider.sets(SetKind::Group, "contractor").await.unwrap().is_empty());
    assert_eq!(provider.sets(SetKind::Group, &group[0]).await.unwrap(), group, "an id names the group too");
    let members = rows(&provider, &Listing::Group(group[0].clone())).await.unwrap();
    let truth = simulator.users().into_iter().filter(|user| user.groups.iter().any(|name| name == "contractors"));
    assert_eq!(members.len(), truth.count());

    let population = provider.sets(SetKind::Population, "Partners").await.unwrap();
    assert_eq!(population.len(), 1, "\"Partners Asia\" begins the same");
    let rows = rows(&provider, &Listing::Population(population[0].clone())).await.unwrap();
    assert!(rows.iter().all(|row| simulator.population_at(simulator.user(&row.id.0).unwrap().index) == "Partners"));
    let absent = Listing::Group("a\u{7}b".into());
    assert_eq!(provider.list(&absent, None).await.unwrap_err().kind, ErrorKind::NotFound);
}

#[tokio::test]
async fn small_empty_and_repeating_pages_lose_nobody() {
    for paging in [
        Paging { max_rows: Some(7), ..Paging::default() },
        Paging { empty_pages: true, max_rows: Some(20), ..Paging::default() },
        Paging { repeated_rows: true, max_rows: Some(20), ..Paging::default() },
    ] {
        let simulator = start(Options::ordinary(100).faults(Faults { paging, ..Faults::default() })).await;
        let mut ids: Vec<_> =
            rows(&connect(&simulator), &Listing::Tenant).await.unwrap().into_iter().map(|row| row.id).collect();
        ids.sort();
        ids.dedup();
        assert_eq!(ids.len(), 100);
    }
}

#[tokio::test]
async fn a_listing_that_loops_or_never_ends_is_invalid() {
    for paging in [
        Paging { looping: true, max_rows: Some(20), ..Paging::default() },
        Paging { endless: true, ..Paging::default() },
    ] {
        let simulator = start(Options::ordinary(100).faults(Faults { paging, ..Faults::default() })).await;
        let error = rows(&connect(&simulator), &Listing::Tenant).await.unwrap_err();
        assert_eq!(error.kind, ErrorKind::ResponseInvalid);
        assert_clean(&error);
    }
}

#[tokio::test]
async fn a_next_link_or_redirect_to_another_origin_is_refused_and_nothing_arrives_there() {
    let trap = Trap::start().await.unwrap();
    let paging = Paging { next_origin: Some(trap.origin()), max_rows: Some(2), ..Paging::default() };
    let simulator = start(Options::ordinary(10).faults(Faults { paging, ..Faults::default() })).await;
    let provider = connect(&simulator);
    let error = provider.list(&Listing::Tenant, None).await.unwrap_err();
    assert_eq!(error.kind, ErrorKind::EndpointRefused);
    assert_clean(&error);
    let redirect = Action::Redirect { status: 307, location: format!("{}/x", trap.origin()) };
    for call in [TOKEN, LIST_USERS, FORCE_CHANGE] {
        let calls = vec![CallFault::always(call, When::Before, redirect.clone())];
        simulator.set(Faults { calls, ..Faults::default() });
        let provider = connect(&simulator);
        let id = AccountId(simulator.user_at(0).id);
        let error = match call {
            FORCE_CHANGE => provider.apply(&Step::RequireChange(id), &open()).await.unwrap_err(),
            _ => provider.list(&Listing::Tenant, None).await.unwrap_err(),
        };
        assert_eq!(error.kind, ErrorKind::EndpointRefused, "{call}");
        assert_clean(&error);
    }
    let forged = Cursor(format!("0 1 0 {}/x", trap.origin()));
    assert_eq!(provider.list(&Listing::Tenant, Some(&forged)).await.unwrap_err().kind, ErrorKind::EndpointRefused);
    assert_eq!(trap.caught(), []);
}

#[tokio::test]
async fn awkward_answers_are_never_taken_for_nobody() {
    for action in [
        Action::TruncatedJson,
        Action::CutShort,
        Action::Html,
        Action::Oversized { bytes: 10 << 20 },
        Action::Nested { depth: 100_000 },
        Action::Empty,
        Action::Answer { status: 200, content_type: "application/json".into(), body: "{}".into(), headers: vec![] },
        Action::Answer { status: 200, content_type: "application/json".into(), body: "[]".into(), headers: vec![] },
    ] {
        let calls = vec![CallFault::always(LIST_USERS, When::After, action.clone())];
        let simulator = start(Options::ordinary(3).faults(Faults { calls, ..Faults::default() })).await;
        let error = connect(&simulator).list(&Listing::Tenant, None).await.unwrap_err();
        assert_eq!(error.kind, ErrorKind::ResponseInvalid, "{action:?}");
        assert_clean(&error);
    }
}

#[tokio::test]
async fn a_write_without_a_clear_answer_is_left_open_and_not_repeated() {
    for action in
        [Action::Reset, Action::Status(500), Action::Status(503), Action::Html, Action::CutShort, Action::Status(409)]
    {
        let calls = vec![CallFault::always(FORCE_CHANGE, When::After, action.clone())];
        let simulator = start(Options::ordinary(1).faults(Faults { calls, ..Faults::default() })).await;
        let id = AccountId(simulator.user_at(0).id);
        let error = connect(&simulator).apply(&Step::RequireChange(id.clone()), &open()).await.unwrap_err();
        assert!(error.effect_unknown, "{action:?}: {error}");
        assert_eq!(simulator.count(FORCE_CHANGE), 1, "{action:?}");
        assert_eq!(connect(&simulator).read_back(&id).await.unwrap().mark, Mark::Marked);
    }
}

#[tokio::test]
async fn an_answer_about_another_user_is_invalid() {
    let simulator = start(Options::ordinary(2)).await;
    let (first, second) = (simulator.user_at(0).id, simulator.user_at(1).id);
    let body = format!(r#"{{"status": "OK", "user": {{"id": "{second}"}}}}"#);
    let answer = Action::Answer { status: 200, content_type: "application/json".into(), body, headers: vec![] };
    let calls = vec![CallFault::always(READ_PASSWORD, When::Before, answer)];
    simulator.set(Faults { calls, ..Faults::default() });
    let error = connect(&simulator).read(&AccountId(first)).await.unwrap_err();
    assert_eq!(error.kind, ErrorKind::ResponseInvalid);
}

#[tokio::test]
async fn a_user_who_is_gone_is_not_found() {
    let simulator = start(Options::ordinary(2)).await;
    let provider = connect(&simulator);
    let id = AccountId(simulator.user_at(0).id);
    simulator.play(&id.0, Play::Deletes).unwrap();
    assert_eq!(provider.read(&id).await.unwrap_err().kind, ErrorKind::NotFound);
    assert_eq!(provider.read_back(&id).await.unwrap_err().kind, ErrorKind::NotFound);
    let error = provider.apply(&Step::RequireChange(id), &open()).await.unwrap_err();
    assert_eq!(error.kind, ErrorKind::NotFound);
    assert_eq!(simulator.count(READ_USER), 1);
}

#[tokio::test]
async fn a_refusal_for_load_is_obeyed_by_the_whole_tenant() {
    let rate_limit = Some(RateLimit { per_second: 0.001, burst: 1, retry_after: RetryAfter::Seconds(30) });
    let simulator = start(Options::ordinary(3).faults(Faults { rate_limit, ..Faults::default() })).await;
    let provider = connect(&simulator);
    provider.list(&Listing::Tenant, None).await.unwrap();
    let error = provider.list(&Listing::Tenant, None).await.unwrap_err();
    assert_eq!(error.kind, ErrorKind::Throttled);
    assert_eq!(error.retry_after.map(|pause| pause.as_secs()), Some(30));
    let before = simulator.counters().total();
    assert_eq!(provider.find(&UserKey::Username("x".into())).await.unwrap_err().kind, ErrorKind::Throttled);
    assert_eq!(simulator.counters().total(), before, "nothing is sent during the pause");
}

#[tokio::test]
async fn a_tenant_whose_limit_is_known_is_never_refused_for_load() {
    let rate_limit = Some(RateLimit { per_second: 200.0, burst: 20, retry_after: RetryAfter::Honest });
    let simulator = start(Options::ordinary(300).faults(Faults { rate_limit, ..Faults::default() })).await;
    let mut settings = settings(&[&simulator.base_url(), &simulator.auth_url()]);
    let limits = Limits { requests_per_second: 200.0, burst: 20, max_concurrent_requests: 8 };
    settings.limiter = Limiter::new(limits);
    let provider = Arc::new(PingOne::connect(config(&simulator, ""), settings).unwrap());
    let reads: Vec<_> = simulator
        .users()
        .into_iter()
        .map(|user| {
            let provider = provider.clone();
            tokio::spawn(async move { provider.read_back(&AccountId(user.id)).await })
        })
        .collect();
    for read in reads {
        read.await.unwrap().unwrap();
    }
    assert_eq!(simulator.counters().with_status(429), 0);
    assert!(simulator.counters().peak_in_flight <= 8);
}

#[tokio::test]
async fn the_pause_that_only_the_body_names_is_obeyed() {
    let body = r#"{"id": "x", "code": "REQUEST_LIMITED", "message": "m", "details": [{"code": "QUOTA_EXCEEDED",
        "innerError": {"quotaLimit": 1, "retryAfter": 40}}]}"#;
    let answer =
        Action::Answer { status: 429, content_type: "application/json".into(), body: body.into(), headers: vec![] };
    let calls = vec![CallFault::always(LIST_USERS, When::Before, answer)];
    let simulator = start(Options::ordinary(3).faults(Faults { calls, ..Faults::default() })).await;
    let settings = settings(&[&simulator.base_url(), &simulator.auth_url()]);
    let limiter = settings.limiter.clone();
    let provider = PingOne::connect(config(&simulator, ""), settings).unwrap();
    let error = provider.list(&Listing::Tenant, None).await.unwrap_err();
    assert_eq!(error.retry_after.map(|pause| pause.as_secs()), Some(40));
    assert!(limiter.blocked_for().is_some_and(|rest| rest.as_secs() >= 38));
}

#[tokio::test]
async fn every_session_is_ended_once() {
    let simulator = start(Options::ordinary(20)).await;
    let provider = connect(&simulator);
    let user = simulator.users().into_iter().find(|user| user.sessions > 0).expect("somebody is signed in");
    let id = AccountId(user.id.clone());
    assert!(provider.apply(&Step::RevokeSessions(id.clone()), &open()).await.unwrap().written);
    assert_eq!(simulator.user(&user.id).unwrap().sessions, 0);
    let ended = simulator.ledger().into_iter().filter(|record| record.effect == Effect::SessionEnded).count();
    assert_eq!(ended as u32, user.sessions);
    assert!(!provider.apply(&Step::RevokeSessions(id), &open()).await.unwrap().written);
}

#[tokio::test]
async fn a_first_user_whose_password_state_is_refused_says_nothing_of_the_environment() {
    let calls = vec![
        CallFault::always(READ_PASSWORD, When::Before, Action::Status(400)),
        CallFault::always(ENVIRONMENT, When::Before, Action::Status(404)),
    ];
    let simulator = start(Options::ordinary(3).faults(Faults { calls, ..Faults::default() })).await;
    let tenant = connect(&simulator).verify(false).await.unwrap();
    assert_eq!((tenant.name, tenant.users), (None, Some(3)));
}

#[tokio::test]
async fn what_a_row_leaves_out_is_read_once() {
    let sparse = Faults { sparse_rows: true, ..Faults::default() };
    let simulator = start(Options::ordinary(3).faults(sparse)).await;
    let provider = connect(&simulator);
    for row in rows(&provider, &Listing::Tenant).await.unwrap() {
        assert_eq!((row.disabled, row.locked), (None, None));
        let account = provider.complete(row).await.unwrap();
        assert_eq!((account.disabled, account.locked, account.mark), (Some(false), Some(false), Mark::Unmarked));
    }
    assert_eq!((simulator.count(READ_USER), simulator.count(READ_PASSWORD)), (3, 3));
}

#[tokio::test]
async fn a_key_in_another_case_is_looked_for_as_it_is_written_and_in_lower_case() {
    let strict = Faults { exact_eq: true, ..Faults::default() };
    let simulator = start(Options::ordinary(3).faults(strict)).await;
    let provider = connect(&simulator);
    let user = simulator.user_at(1);
    assert_eq!(user.email, user.email.to_lowercase());
    let found = provider.find(&UserKey::Email(user.email.to_uppercase())).await.unwrap();
    assert_eq!(found.iter().map(|account| account.id.0.as_str()).collect::<Vec<_>>(), [user.id.as_str()]);
    assert_eq!(simulator.count(LIST_USERS), 2);
    provider.find(&UserKey::Email(user.email)).await.unwrap();
    assert_eq!(simulator.count(LIST_USERS), 3, "in lower case it is one search");
}
