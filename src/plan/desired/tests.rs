//! Who is meant, who is not, and what is refused.

use std::collections::HashSet;

use proptest::prelude::*;

use super::entries::text;
use super::*;
use crate::api::references::UserRef;
use crate::plan::capabilities::{Keys, SAMPLE};
use crate::plan::failure::Class;

/// A provider that can do all of it.
const EVERYTHING: Capabilities = Capabilities {
    visibility: Visibility::MarkAndChangeTime,
    keys: Keys { id: true, username: true, email: true, absence_is_proof: true },
    populations: true,
    ..SAMPLE
};

/// A policy with one target, from the fields that matter.
fn spec(target: serde_json::Value) -> PasswordResetPolicySpec {
    let mut full = serde_json::json!({"name": "workforce", "providerRef": {"name": "a"}, "scope": "Selected"});
    full.as_object_mut().unwrap().extend(target.as_object().unwrap().clone());
    policy(serde_json::json!({"targets": [full]}))
}

fn policy(fields: serde_json::Value) -> PasswordResetPolicySpec {
    let mut full = serde_json::json!({
        "mode": "Enforce",
        "requirement": {"passwordChangedAfter": "2026-11-20T22:00:00Z"},
        "targets": [{"name": "workforce", "providerRef": {"name": "a"}, "scope": "Tenant"}],
    });
    full.as_object_mut().unwrap().extend(fields.as_object().unwrap().clone());
    serde_json::from_value(full).unwrap()
}

fn emails_from(name: &str) -> serde_json::Value {
    serde_json::json!({"format": "Email", "secretRef": {"name": name, "key": "users.txt"}})
}

fn resolve_with(
    spec: &PasswordResetPolicySpec,
    lists: &[&str],
    excluded: &[&str],
    capabilities: &Capabilities,
) -> Result<Desired, Stop> {
    let lists: Vec<Fetched<'_>> = lists.iter().map(|text| Ok(text.as_bytes())).collect();
    let excluded: Vec<Fetched<'_>> = excluded.iter().map(|text| Ok(text.as_bytes())).collect();
    resolve(&Sources { spec, index: 0, capabilities, users_from: &lists, exclude_users_from: &excluded })
}

fn resolved(spec: &PasswordResetPolicySpec, lists: &[&str], excluded: &[&str]) -> Desired {
    resolve_with(spec, lists, excluded, &EVERYTHING).unwrap()
}

fn stop(spec: &PasswordResetPolicySpec, capabilities: &Capabilities) -> (Reason, String, String) {
    let stop = resolve_with(spec, &["a@corp.example"], &["a@corp.example"], capabilities).unwrap_err();
    assert_eq!(stop.class, Class::Stalled);
    (stop.reason, stop.path, stop.message)
}

fn places(keys: &[SelectedKey]) -> Vec<String> {
    keys.iter().map(|selected| selected.place.to_string()).collect()
}

#[test]
fn a_requirement_stands_for_one_campaign_and_two_or_none_for_none() {
    let of = |requirement| epoch(&policy(serde_json::json!({"requirement": requirement})));
    let cutoff = serde_json::json!({"passwordChangedAfter": "2026-11-20T22:00:00Z"});
    assert_eq!(of(cutoff), Some(Epoch::Cutoff(1_795_212_000)));
    assert_eq!(of(serde_json::json!({"maxPasswordAgeDays": 90})), Some(Epoch::Age(90)));
    let both = serde_json::json!({"passwordChangedAfter": "2026-11-20T22:00:00Z", "maxPasswordAgeDays": 90});
    assert_eq!((of(both), of(serde_json::json!({}))), (None, None));
}

#[test]
fn everything_that_is_written_is_wanted() {
    let spec = spec(serde_json::json!({
        "users": [{"email": "alice@corp.example"}, {"username": "bob"}, {"id": "8f4c"}],
        "usersFrom": [emails_from("leak-4711")],
        "groups": ["contractors"],
        "populations": ["staff"],
        "exclude": {"groups": ["contractors-kiosk"], "populations": ["robots"]},
        "missingUsers": "Skip",
        "accountStates": ["Active", "Disabled"],
    }));
    let desired = resolved(&spec, &["# leaked\nmallory@corp.example\n"], &[]);
    assert_eq!(
        places(&desired.selection.keys),
        [
            "spec.targets[0].users[0]",
            "spec.targets[0].users[1]",
            "spec.targets[0].users[2]",
            "Secret/leak-4711 users.txt:2"
        ]
    );
    let places: Vec<_> = [
        &desired.selection.groups,
        &desired.selection.populations,
        &desired.excluded.groups,
        &desired.excluded.populations,
    ]
    .iter()
    .map(|sets| format!("{} {}", sets[0].place, sets[0].name))
    .collect();
    assert_eq!(
        places,
        [
            "spec.targets[0].groups[0] contractors",
            "spec.targets[0].populations[0] staff",
            "spec.targets[0].exclude.groups[0] contractors-kiosk",
            "spec.targets[0].exclude.populations[0] robots"
        ]
    );
    assert!(!desired.selection.tenant);
    assert_eq!(desired.missing_users, MissingUsers::Skip);
    assert_eq!(desired.account_states, AccountStates { active: true, locked: false, disabled: true });
    assert_eq!(desired.requirement.epoch().to_string(), "cutoff:1795212000");
}

#[test]
fn entries_that_name_one_user_are_merged_and_the_first_place_stays() {
    let spec = spec(serde_json::json!({
        "users": [{"email": "Alice@corp.example"}],
        "usersFrom": [emails_from("one"), emails_from("two")],
    }));
    let desired = resolved(&spec, &["alice@corp.example\nbob@corp.example", "BOB@corp.example"], &[]);
    assert_eq!(places(&desired.selection.keys), ["spec.targets[0].users[0]", "Secret/one users.txt:2"]);
}

#[test]
fn a_malformed_line_is_a_place_and_the_rest_goes_on() {
    let spec = spec(serde_json::json!({"users": [{"email": "nobody"}], "usersFrom": [emails_from("one")]}));
    let desired = resolved(&spec, &["alice@corp.example\nnot an address\n"], &[]);
    let malformed: Vec<_> = desired.selection.malformed.iter().map(ToString::to_string).collect();
    assert_eq!(malformed, ["spec.targets[0].users[0]", "Secret/one users.txt:2"]);
    assert_eq!(desired.selection.keys.len(), 1);
}

#[test]
fn a_target_excludes_somebody_by_any_of_the_ways_to_name_them() {
    let exclusions = |exclude| resolved(&spec(serde_json::json!({"exclude": exclude})), &[], &[]).excluded;
    assert!(exclusions(serde_json::json!({})).is_empty());
    for exclude in [
        serde_json::json!({"users": [{"id": "a"}]}),
        serde_json::json!({"groups": ["board"]}),
        serde_json::json!({"populations": ["robots"]}),
    ] {
        assert!(!exclusions(exclude.clone()).is_empty(), "{exclude}");
    }
}

#[test]
fn an_excluded_user_is_removed_from_lists_by_text() {
    let spec = spec(serde_json::json!({
        "users": [{"id": "Ab1"}],
        "usersFrom": [emails_from("one")],
        "exclude": {"users": [{"email": "ALICE@corp.example"}, {"id": "aB1"}], "usersFrom": [emails_from("kept")]},
    }));
    let list = "alice@corp.example\nbob@corp.example\nAlice@corp.example\ncarol@corp.example";
    let desired = resolved(&spec, &[list], &["Bob@corp.example"]);
    assert_eq!(places(&desired.selection.keys), ["spec.targets[0].users[0]", "Secret/one users.txt:4"]);
    assert_eq!(desired.excluded.keys.len(), 3, "exclusions are still asked of the provider by key");
}

#[test]
fn a_malformed_line_can_be_excluded_by_its_text() {
    let spec = spec(serde_json::json!({
        "usersFrom": [emails_from("one")],
        "exclude": {"users": [{"email": "Not An Address"}]},
    }));
    let desired = resolved(&spec, &["alice@corp.example\nnot an address"], &[]);
    assert_eq!(desired.selection.malformed, []);
    let spec = self::spec(serde_json::json!({
        "users": [{"email": "alice@corp.example"}, {"email": "not an address"}],
        "exclude": {"users": [{"email": "Not An Address"}]},
    }));
    let desired = resolved(&spec, &[], &[]);
    assert_eq!(desired.selection.malformed, []);
}

#[test]
fn a_line_of_a_config_map_is_named_as_one() {
    let list = serde_json::json!({"format": "Email", "configMapRef": {"name": "leak", "key": "users.txt"}});
    let desired = resolved(&spec(serde_json::json!({"usersFrom": [list]})), &["alice@corp.example\nnobody"], &[]);
    let malformed: Vec<_> = desired.selection.malformed.iter().map(ToString::to_string).collect();
    assert_eq!(malformed, ["ConfigMap/leak users.txt:2"]);
}

#[test]
fn an_age_of_no_days_is_refused() {
    let (reason, path, _) = stop(&policy(serde_json::json!({"requirement": {"maxPasswordAgeDays": 0}})), &EVERYTHING);
    assert_eq!((reason, path.as_str()), (Reason::InvalidSpec, "spec.requirement.maxPasswordAgeDays"));
}

#[test]
fn what_the_provider_can_do_may_be_asked_for() {
    let sessions = policy(serde_json::json!({"action": {"sessions": "Revoke"}}));
    assert_eq!(resolved(&sessions, &[], &[]).sessions, Sessions::Revoke);
    let everybody = serde_json::json!({"name": "t", "providerRef": {"name": "a"}, "scope": "Tenant",
        "strategy": "TenantNative", "accountStates": ["Active", "Locked", "Disabled"]});
    let everybody = policy(serde_json::json!({"targets": [everybody]}));
    assert_eq!(resolved(&everybody, &[], &[]).strategy, crate::api::password_reset_policy::Strategy::TenantNative);
}

#[test]
fn an_exclusion_that_can_name_nobody_stops_the_target() {
    let spec = spec(serde_json::json!({
        "usersFrom": [emails_from("one")],
        "exclude": {"users": [{"email": "b@corp.example"}, {"email": "nobody"}]},
    }));
    let (reason, path, _) = stop(&spec, &EVERYTHING);
    assert_eq!((reason, path.as_str()), (Reason::ExclusionUnresolved, "spec.targets[0].exclude.users[1]"));
}

#[test]
fn a_malformed_line_in_an_exclude_list_stops_the_target_and_is_not_shown() {
    let spec = spec(serde_json::json!({"groups": ["a"], "exclude": {"usersFrom": [emails_from("kept")]}}));
    let stop = resolve_with(&spec, &[], &["alice@corp.example\nbob at corp"], &EVERYTHING).unwrap_err();
    assert_eq!(
        (stop.reason, stop.path.as_str()),
        (Reason::ExclusionUnresolved, "spec.targets[0].exclude.usersFrom[0]")
    );
    assert!(stop.message.contains("Secret/kept users.txt:2") && !stop.message.contains("bob"), "{}", stop.message);
}

#[test]
fn a_list_that_cannot_be_had_stops_in_the_words_of_what_it_does() {
    let spec = spec(serde_json::json!({
        "usersFrom": [emails_from("one")],
        "exclude": {"usersFrom": [emails_from("kept")]},
    }));
    let good: Fetched<'_> = Ok(b"alice@corp.example");
    for (unavailable, reason) in [
        (ListUnavailable::NotFound("why".into()), Reason::UserListNotFound),
        (ListUnavailable::Forbidden("why".into()), Reason::UserListForbidden),
        (ListUnavailable::Refused("why".into()), Reason::UserListInvalid),
    ] {
        let bad: Fetched<'_> = Err(unavailable);
        let sources = Sources {
            spec: &spec,
            index: 0,
            capabilities: &EVERYTHING,
            users_from: std::slice::from_ref(&bad),
            exclude_users_from: std::slice::from_ref(&good),
        };
        let selecting = resolve(&sources).unwrap_err();
        assert_eq!((selecting.reason, selecting.path.as_str()), (reason, "spec.targets[0].usersFrom[0]"));
        let protecting = resolve(&Sources {
            users_from: std::slice::from_ref(&good),
            exclude_users_from: std::slice::from_ref(&bad),
            ..sources
        })
        .unwrap_err();
        assert_eq!(protecting.reason, Reason::ExclusionUnresolved);
        assert_eq!(protecting.path, "spec.targets[0].exclude.usersFrom[0]");
        assert!(protecting.message.starts_with("why"), "{}", protecting.message);
    }
}

#[test]
fn a_list_of_nobody_is_invalid_and_a_list_that_was_not_read_protects_nobody() {
    let spec = spec(serde_json::json!({"usersFrom": [emails_from("one")]}));
    let empty = resolve_with(&spec, &["# nobody\n"], &[], &EVERYTHING).unwrap_err();
    assert_eq!(empty.reason, Reason::UserListInvalid);
    assert!(empty.message.starts_with("Secret/one users.txt: "), "{}", empty.message);
    assert_eq!(resolve_with(&spec, &[], &[], &EVERYTHING).unwrap_err().reason, Reason::UserListNotFound);
}

#[test]
fn what_the_provider_cannot_do_is_refused_with_the_path_and_what_to_write() {
    let no = |change: fn(&mut Capabilities)| {
        let mut capabilities = EVERYTHING;
        change(&mut capabilities);
        capabilities
    };
    let no_populations = no(|capabilities| capabilities.populations = false);
    let no_groups = no(|capabilities| capabilities.groups = false);
    let no_username = no(|capabilities| capabilities.keys.username = false);
    let no_sessions = no(|capabilities| capabilities.revoke_sessions = false);
    let no_native = no(|capabilities| capabilities.tenant_native = false);
    let no_times = no(|capabilities| capabilities.visibility = Visibility::MarkAndSignIn);
    let tenant =
        serde_json::json!({"name": "t", "providerRef": {"name": "a"}, "scope": "Tenant", "strategy": "TenantNative"});
    let usernames = serde_json::json!([{"format": "Username", "configMapRef": {"name": "m", "key": "k"}}]);
    for (spec, capabilities, path, write) in [
        (
            spec(serde_json::json!({"populations": ["p"]})),
            no_populations,
            "spec.targets[0].populations",
            "write groups instead",
        ),
        (
            spec(serde_json::json!({"groups": ["g"], "exclude": {"populations": ["p"]}})),
            no_populations,
            "spec.targets[0].exclude.populations",
            "write exclude.groups instead",
        ),
        (spec(serde_json::json!({"groups": ["g"]})), no_groups, "spec.targets[0].groups", "usersFrom instead"),
        (
            spec(serde_json::json!({"users": [{"id": "1"}, {"username": "bob"}]})),
            no_username,
            "spec.targets[0].users[1].username",
            "write email or id instead",
        ),
        (
            spec(serde_json::json!({"groups": ["g"], "exclude": {"users": [{"username": "bob"}]}})),
            no_username,
            "spec.targets[0].exclude.users[0].username",
            "write email or id instead",
        ),
        (
            spec(serde_json::json!({"usersFrom": usernames})),
            no_username,
            "spec.targets[0].usersFrom[0].format",
            "write email or id instead",
        ),
        (
            policy(serde_json::json!({"action": {"sessions": "Revoke"}})),
            no_sessions,
            "spec.action.sessions",
            "write Keep",
        ),
        (policy(serde_json::json!({"targets": [tenant]})), no_native, "spec.targets[0].strategy", "write PerUser"),
        (
            policy(serde_json::json!({"requirement": {"maxPasswordAgeDays": 90}})),
            no_times,
            "spec.requirement.maxPasswordAgeDays",
            "write passwordChangedAfter",
        ),
    ] {
        let (reason, at, message) = stop(&spec, &capabilities);
        assert_eq!((reason, at.as_str()), (Reason::UnsupportedByProvider, path));
        assert!(message.contains("Sample") && message.contains(write), "{message}");
    }
}

#[test]
fn a_user_without_exactly_one_key_is_refused() {
    let two = serde_json::json!([{"id": "1", "email": "a@corp.example"}]);
    let (reason, path, _) = stop(&spec(serde_json::json!({"users": two})), &EVERYTHING);
    assert_eq!((reason, path.as_str()), (Reason::InvalidSpec, "spec.targets[0].users[0]"));
    let (reason, path, _) = stop(&spec(serde_json::json!({"groups": ["g"], "exclude": {"users": [{}]}})), &EVERYTHING);
    assert_eq!((reason, path.as_str()), (Reason::ExclusionUnresolved, "spec.targets[0].exclude.users[0]"));
}

#[test]
fn protected_users_fail_closed_with_their_place() {
    let user = |field: &str, value: &str| serde_json::from_value::<UserRef>(serde_json::json!({field: value})).unwrap();
    let object = "IdentityProvider/pingone-prod";
    let good =
        [user("username", "break-glass-1"), user("email", "root@corp.example"), user("username", "BREAK-glass-1")];
    let keys = protected_keys(&good, object, &EVERYTHING).unwrap();
    assert_eq!(
        places(&keys),
        [
            "IdentityProvider/pingone-prod spec.protectedUsers[0]",
            "IdentityProvider/pingone-prod spec.protectedUsers[1]"
        ]
    );
    let mut no_username = EVERYTHING;
    no_username.keys.username = false;
    for (users, capabilities) in [
        (vec![user("email", "root")], EVERYTHING),
        (vec![UserRef::default()], EVERYTHING),
        (vec![user("username", "root")], no_username),
    ] {
        let stop = protected_keys(&users, object, &capabilities).unwrap_err();
        assert_eq!(stop.reason, Reason::ProtectedUserUnresolved);
        assert_eq!(stop.path, "IdentityProvider/pingone-prod spec.protectedUsers[0]");
    }
}

#[test]
fn two_targets_of_one_tenant_both_stop() {
    let target = |index, name, tenant| TargetTenant { index, name, tenant };
    let stops = duplicate_tenants(&[target(0, "a", "t1"), target(1, "b", "t2"), target(2, "c", "t1")]);
    let at: Vec<_> = stops.iter().map(|(index, stop)| (*index, stop.reason, stop.path.as_str())).collect();
    assert_eq!(
        at,
        [
            (0, Reason::DuplicateTenant, "spec.targets[0].providerRef"),
            (2, Reason::DuplicateTenant, "spec.targets[2].providerRef")
        ]
    );
    assert!(duplicate_tenants(&[target(0, "a", "t1"), target(1, "b", "t2")]).is_empty());
}

proptest! {
    #[test]
    fn nobody_is_both_selected_and_excluded_and_nobody_gets_lost(
        selected in proptest::collection::vec("[a-cA-C]{1,2}", 1..12),
        excluded in proptest::collection::vec("[a-cA-C]{1,2}", 0..6),
    ) {
        let email = |name: &String| format!("{name}@corp.example");
        let list: Vec<String> = selected.iter().map(email).collect();
        let exclude: Vec<_> = excluded.iter().map(|name| serde_json::json!({"email": email(name)})).collect();
        let spec = spec(serde_json::json!({"usersFrom": [emails_from("one")], "exclude": {"users": exclude}}));
        let desired = resolved(&spec, &[&list.join("\n")], &[]);

        let lower = |names: &[String]| names.iter().map(|name| name.to_lowercase()).collect::<HashSet<_>>();
        let (selected, excluded) = (lower(&selected), lower(&excluded));
        let kept: HashSet<String> = desired
            .selection
            .keys
            .iter()
            .map(|selected| text(&selected.key).to_lowercase().replace("@corp.example", ""))
            .collect();
        prop_assert_eq!(kept.len(), desired.selection.keys.len());
        prop_assert_eq!(&kept, &selected.difference(&excluded).cloned().collect::<HashSet<_>>());
    }
}
