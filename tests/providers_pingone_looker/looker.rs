use password_reset_operator::plan::observed::{
    AccountId, ChangeTime, Credential, Enforceable, Listing, Mark, SetKind, SignIn, UserKey,
};
use password_reset_operator::plan::step::Step;
use password_reset_operator::provider::looker::{CAPABILITIES, Looker, LookerConfig};
use password_reset_operator::provider::{ErrorKind, Provider};
use simulators::looker::{
    FORCE_ALL, LIST_USERS, LOGIN, ME, PATCH_CREDENTIAL, READ_USER, SEARCH_CREDENTIALS, SEARCH_USERS,
};
use simulators::{
    Action, CallFault, Class, Effect, Faults, Handle, Options, Paging, PagingHeaders, Play, Population, Share, Trap,
    When,
};

use super::{assert_clean, campaign, closed, open, rows, settings, url};

async fn start(options: Options) -> Handle {
    simulators::Looker::start(options).await.expect("a simulator")
}

fn connect_with(simulator: &Handle, path: &str, page_size: u32) -> Looker {
    let credentials = simulator.credentials();
    let config = LookerConfig {
        base_url: url(&format!("{}{path}", simulator.base_url())),
        client_id: credentials.client_id,
        client_secret: credentials.client_secret.into(),
        page_size,
    };
    Looker::connect(config, settings(&[&simulator.base_url()])).expect("a client")
}

fn connect(simulator: &Handle) -> Looker {
    connect_with(simulator, "", CAPABILITIES.page_size)
}

fn of_class(simulator: &Handle, class: Class) -> simulators::User {
    simulator.users().into_iter().find(|user| user.class == class).expect("a user of that class")
}

#[tokio::test]
async fn a_campaign_over_everybody_costs_one_write_and_two_listings() {
    let simulator = start(Options::ordinary(1_000)).await;
    let provider = connect_with(&simulator, "", 200);
    let (reads, written, seen) = campaign(&provider, "2100-01-01T00:00:00Z".parse().unwrap()).await;
    assert_eq!((reads, written, seen), (0, 1_000, 1_000));
    let confirming = rows(&provider, &Listing::Tenant).await.unwrap();
    assert!(confirming.iter().filter(|row| row.credential == Credential::Local).all(|row| row.mark == Mark::Marked));
    assert_eq!(simulator.count(LIST_USERS), 2 * 6, "1,001 users with the API user");
    assert_eq!(simulator.counters().total(), 1_000 + 2 * 6 + 1, "w + 2P and one login");
    assert!(simulator.requirements().values().all(|count| *count == 1));
    assert_eq!(simulator.counters().secrets_shown, 0);
}

#[tokio::test]
async fn every_awkward_account_is_shown_as_it_is() {
    let simulator = start(Options::awkward(300)).await;
    let provider = connect(&simulator);
    let listed = rows(&provider, &Listing::Tenant).await.unwrap();
    assert_eq!(listed.len(), 301);
    assert!(listed.is_sorted_by_key(|row| row.sort_key.clone()));
    for row in listed {
        let user = simulator.user(&row.id.0).unwrap();
        let account = provider.complete(row.clone()).await.unwrap();
        assert_eq!(account, row, "a row lacks nothing");
        let wanted = match user.class {
            Class::Embed | Class::ServiceAccount => Credential::Service,
            _ if user.has_password => Credential::Local,
            Class::ApiUser => Credential::NoPassword,
            _ => Credential::Federated,
        };
        assert_eq!(account.credential, wanted, "{:?}", user.class);
        assert_eq!(account.changed, ChangeTime::Absent);
        assert_eq!(account.locked, Some(false));
        assert_eq!(
            account.disabled,
            Some(user.disabled || user.class == Class::CredentialDisabled),
            "{:?}",
            user.class
        );
        if wanted == Credential::Local {
            assert_eq!(account.mark == Mark::Marked, user.marked);
            assert_eq!(account.sign_in, user.signed_in_at.map_or(SignIn::Never, SignIn::At));
            assert_eq!(account.credential_created, Some(user.created_at));
        }
    }
    assert_eq!(simulator.count(READ_USER), 0);
    assert_eq!(simulator.counters().secrets_shown, 0);
}

#[tokio::test]
async fn a_write_without_effect_is_no_read_back() {
    let simulator = start(Options::new(Population::with(2, &[(Class::WithoutEffect, Share::Count(1))]))).await;
    let provider = connect(&simulator);
    let id = AccountId(of_class(&simulator, Class::WithoutEffect).id);
    let applied = provider.apply(&Step::RequireChange(id.clone()), &open()).await.unwrap();
    assert_eq!((applied.written, applied.seen), (true, None));
    assert_eq!(provider.read_back(&id).await.unwrap().mark, Mark::Unmarked);
}

#[tokio::test]
async fn what_looker_hides_as_not_found_is_forbidden() {
    for forbidden_as_not_found in [false, true] {
        let options = Options::new(Population::with(2, &[(Class::Forbidden, Share::Count(1))]));
        let simulator = start(options.faults(Faults { forbidden_as_not_found, ..Faults::default() })).await;
        let provider = connect(&simulator);
        let id = AccountId(of_class(&simulator, Class::Forbidden).id);
        let error = provider.apply(&Step::RequireChange(id.clone()), &open()).await.unwrap_err();
        assert_eq!((error.kind, error.effect_unknown), (ErrorKind::Forbidden, false));
        assert_eq!(provider.read(&id).await.unwrap().id, id);
    }
}

#[tokio::test]
async fn verification_names_the_instance_and_its_own_user_in_three_calls() {
    for api_user_has_credential in [false, true] {
        let mut options = Options::ordinary(7);
        options.api_user_has_credential = api_user_has_credential;
        let simulator = start(options).await;
        let tenant = connect(&simulator).verify(true).await.unwrap();
        assert_eq!(tenant.id, simulator.base_url());
        assert_eq!(tenant.users, Some(8));
        assert_eq!(tenant.own_account, Some(AccountId(simulator.api_user_id())));
        assert_eq!(tenant.own_account_has_password, Some(api_user_has_credential));
        assert_eq!(tenant.enforceable, Enforceable::Yes);
        assert_eq!(simulator.counters().total(), 3 + 1);
        assert_eq!(simulator.counters().secrets_shown, 0);
    }
}

#[tokio::test]
async fn google_cloud_core_that_denies_password_calls_is_said_so() {
    for forbidden_as_not_found in [false, true] {
        let faults = Faults { core_denies_credentials: true, forbidden_as_not_found, ..Faults::default() };
        let simulator = start(Options::ordinary(7).faults(faults)).await;
        let error = connect(&simulator).verify(false).await.unwrap_err();
        assert_eq!(error.kind, ErrorKind::PermissionDenied);
        assert!(error.message.contains("Google Cloud core"), "{error}");
    }
}

#[tokio::test]
async fn a_wrong_credential_is_told_once_and_not_repeated() {
    let simulator = start(Options::ordinary(3).faults(Faults { refuse_credentials: true, ..Faults::default() })).await;
    let provider = connect(&simulator);
    for _ in 0..5 {
        let error = provider.list(&Listing::Tenant, None).await.unwrap_err();
        assert_eq!(error.kind, ErrorKind::AuthenticationFailed);
        assert_clean(&error);
    }
    assert_eq!(simulator.counters().total(), 1);
    assert_eq!(provider.verify(true).await.unwrap_err().kind, ErrorKind::AuthenticationFailed);
    assert_eq!(simulator.counters().total(), 2, "a probe is one call");
}

#[tokio::test]
async fn a_revoked_token_costs_one_login() {
    let simulator = start(Options::ordinary(3)).await;
    let provider = connect(&simulator);
    provider.verify(false).await.unwrap();
    simulator.revoke_tokens();
    let id = AccountId(simulator.user_at(0).id);
    assert!(provider.apply(&Step::RequireChange(id), &open()).await.unwrap().seen.is_some());
    assert_eq!(simulator.count(LOGIN), 2);
    assert_eq!(simulator.requirements().values().sum::<u32>(), 1);
}

#[tokio::test]
async fn whoever_signs_in_by_another_address_than_the_users_own_is_found_by_it() {
    let simulator = start(Options::ordinary(10)).await;
    let provider = connect(&simulator);
    let user = simulator.user_at(4);
    // The search for users looks at the user's own address, which is another one.
    let other = Action::Merge(serde_json::json!({"email": "sso@corp.example"}));
    let nobody = Action::Answer {
        status: 200,
        content_type: "application/json".to_owned(),
        body: "[]".to_owned(),
        headers: Vec::new(),
    };
    simulator.set(Faults {
        calls: vec![
            CallFault::always(SEARCH_USERS, When::Before, nobody),
            CallFault::always(READ_USER, When::After, other),
        ],
        ..Faults::default()
    });
    for email in [user.email.clone(), user.email.to_uppercase()] {
        let found = provider.find(&UserKey::Email(email)).await.unwrap();
        assert_eq!(found.iter().map(|account| &account.id.0).collect::<Vec<_>>(), [&user.id]);
        assert_eq!(found[0].emails.len(), 2);
    }
    assert_eq!(provider.find(&UserKey::Email("%".into())).await.unwrap(), [], "a wildcard is nobody's address");
}

#[tokio::test]
async fn users_are_found_by_address_and_id_and_a_wildcard_finds_nobody_else() {
    let simulator = start(Options::new(Population::with(50, &[(Class::Lookalike, Share::Count(1))]))).await;
    let provider = connect(&simulator);
    let twin = of_class(&simulator, Class::Lookalike);
    for user in [simulator.user_at(7), simulator.user_at(twin.index.saturating_sub(1)), twin] {
        for key in [UserKey::Email(user.email.to_uppercase()), UserKey::Id(user.id.clone())] {
            let before = simulator.counters().total();
            let found = provider.find(&key).await.unwrap();
            assert_eq!(found.iter().map(|account| &account.id.0).collect::<Vec<_>>(), [&user.id], "{key:?}");
            assert!(simulator.counters().total() - before <= 2, "one call, and the login at first");
        }
    }
    for nobody in [
        UserKey::Email("%".into()),
        UserKey::Email("NOT NULL".into()),
        UserKey::Email("nobody@corp.example".into()),
        UserKey::Id("999999".into()),
        UserKey::Id("search".into()),
        UserKey::Id("../user".into()),
    ] {
        assert_eq!(provider.find(&nobody).await.unwrap(), [], "{nobody:?}");
    }
    assert_eq!(simulator.count(SEARCH_CREDENTIALS), 3, "whoever a search for users finds costs one call");
    let named = provider.find(&UserKey::Username("bob".into())).await.unwrap_err();
    assert_eq!(named.kind, ErrorKind::Unsupported);
}

#[tokio::test]
async fn groups_are_found_by_their_exact_name_or_id_and_listed() {
    let simulator = start(Options::ordinary(60)).await;
    let provider = connect(&simulator);
    let group = provider.sets(SetKind::Group, "contractors").await.unwrap();
    assert_eq!(group, simulator.group_ids("contractors"));
    assert_eq!(provider.sets(SetKind::Group, &group[0]).await.unwrap(), group);
    assert_eq!(provider.sets(SetKind::Group, "twins").await.unwrap().len(), 2);
    for nothing in ["CONTRACTORS", "contractors%", "_ontractors", "999", "NOT NULL"] {
        assert!(provider.sets(SetKind::Group, nothing).await.unwrap().is_empty(), "{nothing}");
    }
    let members = rows(&provider, &Listing::Group(group[0].clone())).await.unwrap();
    let truth = simulator.users().into_iter().filter(|user| user.groups.iter().any(|name| name == "contractors"));
    assert_eq!(members.len(), truth.count());
    assert!(simulator.count(SEARCH_USERS) > 0);
    assert_eq!(provider.sets(SetKind::Population, "x").await.unwrap_err().kind, ErrorKind::Unsupported);
}

#[tokio::test]
async fn short_and_repeating_pages_and_missing_headers_lose_nobody() {
    for headers in [PagingHeaders::All, PagingHeaders::LinkOnly, PagingHeaders::TotalOnly, PagingHeaders::None] {
        for (max_rows, repeated_rows) in [(None, false), (Some(7), false), (None, true)] {
            let paging = Paging { max_rows, repeated_rows, headers, ..Paging::default() };
            let simulator = start(Options::ordinary(99).faults(Faults { paging, ..Faults::default() })).await;
            let provider = connect_with(&simulator, "/api/4.0", 20);
            let listed = rows(&provider, &Listing::Tenant).await.unwrap();
            let mut ids: Vec<_> = listed.into_iter().map(|row| row.id).collect();
            ids.sort();
            ids.dedup();
            assert_eq!(ids.len(), 100, "{headers:?} {max_rows:?} {repeated_rows}");
        }
    }
}

#[tokio::test]
async fn a_total_that_is_too_small_does_not_end_a_listing_that_links_on() {
    let paging = Paging { total_off_by: -50, ..Paging::default() };
    let simulator = start(Options::ordinary(99).faults(Faults { paging, ..Faults::default() })).await;
    assert_eq!(rows(&connect_with(&simulator, "", 20), &Listing::Tenant).await.unwrap().len(), 100);
}

#[tokio::test]
async fn a_listing_that_loops_is_invalid() {
    for headers in [PagingHeaders::All, PagingHeaders::LinkOnly, PagingHeaders::None] {
        let paging = Paging { looping: true, headers, ..Paging::default() };
        let simulator = start(Options::ordinary(100).faults(Faults { paging, ..Faults::default() })).await;
        let error = rows(&connect_with(&simulator, "", 20), &Listing::Tenant).await.unwrap_err();
        assert_eq!(error.kind, ErrorKind::ResponseInvalid, "{headers:?}");
        assert_clean(&error);
    }
}

#[tokio::test]
async fn a_next_link_or_redirect_to_another_origin_is_refused_and_nothing_arrives_there() {
    let trap = Trap::start().await.unwrap();
    let paging = Paging { next_origin: Some(trap.origin()), ..Paging::default() };
    let simulator = start(Options::ordinary(50).faults(Faults { paging, ..Faults::default() })).await;
    let error = connect_with(&simulator, "", 10).list(&Listing::Tenant, None).await.unwrap_err();
    assert_eq!(error.kind, ErrorKind::EndpointRefused);
    assert_clean(&error);
    for call in [LOGIN, LIST_USERS] {
        let redirect = Action::Redirect { status: 302, location: format!("{}/x", trap.origin()) };
        simulator.set(Faults { calls: vec![CallFault::always(call, When::Before, redirect)], ..Faults::default() });
        let error = connect(&simulator).list(&Listing::Tenant, None).await.unwrap_err();
        assert_eq!(error.kind, ErrorKind::EndpointRefused, "{call}");
    }
    assert_eq!(trap.caught(), []);
}

#[tokio::test]
async fn awkward_answers_are_never_taken_for_nobody() {
    for action in [
        Action::TruncatedJson,
        Action::CutShort,
        Action::Html,
        Action::Oversized { bytes: 1 << 10 },
        Action::Oversized { bytes: 10 << 20 },
        Action::Nested { depth: 100_000 },
        Action::Empty,
        Action::Answer { status: 200, content_type: "application/json".into(), body: "{}".into(), headers: vec![] },
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
    for action in [Action::Reset, Action::Status(500), Action::Html, Action::CutShort] {
        let calls = vec![CallFault::always(PATCH_CREDENTIAL, When::After, action.clone())];
        let simulator = start(Options::ordinary(1).faults(Faults { calls, ..Faults::default() })).await;
        let provider = connect(&simulator);
        let id = AccountId(simulator.user_at(0).id);
        let error = provider.apply(&Step::RequireChange(id.clone()), &open()).await.unwrap_err();
        assert!(error.effect_unknown, "{action:?}: {error}");
        assert_eq!(simulator.count(PATCH_CREDENTIAL), 1, "{action:?}");
        assert_eq!(provider.read_back(&id).await.unwrap().mark, Mark::Marked);
    }
}

#[tokio::test]
async fn a_success_without_a_body_is_a_write_that_has_to_be_read_back() {
    let calls = vec![CallFault::always(PATCH_CREDENTIAL, When::After, Action::Empty)];
    let simulator = start(Options::ordinary(1).faults(Faults { calls, ..Faults::default() })).await;
    let provider = connect(&simulator);
    let id = AccountId(simulator.user_at(0).id);
    let applied = provider.apply(&Step::RequireChange(id.clone()), &open()).await.unwrap();
    assert_eq!((applied.written, applied.seen), (true, None));
    assert_eq!(provider.read_back(&id).await.unwrap().mark, Mark::Marked);
}

#[tokio::test]
async fn an_api_user_that_looker_does_not_show_is_said_to_be_unknown() {
    let calls = vec![CallFault::always(ME, When::Before, Action::Status(404))];
    let simulator = start(Options::ordinary(7).faults(Faults { calls, ..Faults::default() })).await;
    let tenant = connect(&simulator).verify(false).await.unwrap();
    assert_eq!((tenant.own_account, tenant.own_account_has_password), (None, None));
    assert!(matches!(tenant.enforceable, Enforceable::Unknown(why) if why.contains("exclude it")));
}

#[tokio::test]
async fn whether_an_api_user_that_shows_no_credential_has_one_its_own_resource_tells() {
    for api_user_has_credential in [false, true] {
        let mut options = Options::ordinary(7).faults(Faults { sparse_rows: true, ..Faults::default() });
        options.api_user_has_credential = api_user_has_credential;
        let tenant = connect(&start(options).await).verify(false).await.unwrap();
        assert_eq!(tenant.own_account_has_password, Some(api_user_has_credential));
    }
}

#[tokio::test]
async fn the_call_for_everybody_is_one_call_and_its_answer_is_not_read() {
    let simulator = start(Options::ordinary(5)).await;
    let provider = connect(&simulator);
    let applied = provider.apply(&Step::RequireEverybody, &open()).await.unwrap();
    assert_eq!((applied.written, applied.seen), (true, None));
    assert_eq!(simulator.count(FORCE_ALL), 1);
    let listed = rows(&provider, &Listing::Tenant).await.unwrap();
    assert_eq!(listed.iter().filter(|row| row.mark == Mark::Marked).count(), 5);

    let calls = vec![CallFault::always(FORCE_ALL, When::After, Action::Reset)];
    simulator.set(Faults { calls, ..Faults::default() });
    let error = provider.apply(&Step::RequireEverybody, &open()).await.unwrap_err();
    assert!(error.effect_unknown);
}

#[tokio::test]
async fn a_closed_gate_lets_no_write_out() {
    let simulator = start(Options::ordinary(20)).await;
    let provider = connect(&simulator);
    let user = simulator.users().into_iter().find(|user| user.sessions > 0).expect("somebody is signed in");
    let id = AccountId(user.id);
    for step in [Step::RequireChange(id.clone()), Step::RevokeSessions(id), Step::RequireEverybody] {
        let error = provider.apply(&step, &closed()).await.unwrap_err();
        assert_eq!((error.kind, error.effect_unknown), (ErrorKind::Stopped, false));
    }
    assert!(simulator.ledger().is_empty());
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
async fn a_sign_in_after_the_mark_is_gone_can_be_seen() {
    let simulator = start(Options::ordinary(1)).await;
    let provider = connect(&simulator);
    let id = AccountId(simulator.user_at(0).id);
    let seen = provider.apply(&Step::RequireChange(id.clone()), &open()).await.unwrap().seen.unwrap();
    simulator.play(&id.0, Play::Complies).unwrap();
    let after = provider.read(&id).await.unwrap();
    assert_eq!((seen.mark, after.mark), (Mark::Marked, Mark::Unmarked));
    let (SignIn::At(before), SignIn::At(now)) = (seen.sign_in, after.sign_in) else { panic!("no sign-in is shown") };
    assert!(now > before);
}

#[tokio::test]
async fn where_users_show_no_credential_its_own_resource_tells() {
    let sparse = Faults { sparse_rows: true, ..Faults::default() };
    let classes = [(Class::NoPassword, Share::Count(1)), (Class::AlreadyMarked, Share::Count(1))];
    let simulator = start(Options::new(Population::with(4, &classes)).faults(sparse)).await;
    let provider = connect(&simulator);
    for row in rows(&provider, &Listing::Tenant).await.unwrap() {
        let Some(user) = simulator.user(&row.id.0).filter(|user| user.class != Class::ApiUser) else { continue };
        assert_eq!(row.credential, Credential::NotGiven);
        let before = simulator.counters().total();
        let account = provider.complete(row).await.unwrap();
        assert_eq!(simulator.counters().total(), before + 1, "only what is missing is asked for");
        let wanted = match user.class {
            Class::NoPassword => (Credential::NoPassword, Mark::NotGiven),
            Class::AlreadyMarked => (Credential::Local, Mark::Marked),
            _ => (Credential::Local, Mark::Unmarked),
        };
        assert_eq!((account.credential, account.mark), wanted, "{:?}", user.class);
        assert_eq!(account.disabled, Some(false), "{:?}", user.class);
    }
}
