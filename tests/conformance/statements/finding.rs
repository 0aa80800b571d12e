//! Does a key find the account that has it, and no other?

use password_reset_operator::plan::observed::{Listing, SetKind, UserKey};
use password_reset_operator::plan::step::Step;
use password_reset_operator::provider::ErrorKind;

use crate::stage::{Stage, ids, open};
use crate::subject::{Act, POPULATION, Subject};

/// Exactly these accounts are found.
pub async fn finds<S: Subject>(stage: &Stage<S>, key: UserKey, expected: &[&str]) {
    // Its own `Debug` shows nothing of a key.
    let (UserKey::Id(text) | UserKey::Email(text) | UserKey::Username(text)) = &key;
    let found = stage.provider.find(&key).await.unwrap_or_else(|error| panic!("{key:?} {text:?}: {error}"));
    assert_eq!(ids(&found), expected, "{key:?} {text:?}");
}

pub async fn an_id_and_an_address_find_exactly_their_account<S: Subject>() {
    assert!(S::CAPABILITIES.keys.id && S::CAPABILITIES.keys.email, "every provider so far knows both");
    let stage = Stage::<S>::new().await;
    for person in stage.people().await {
        finds(&stage, UserKey::Id(person.id.clone()), &[&person.id]).await;
        finds(&stage, UserKey::Email(person.email.clone()), &[&person.id]).await;
    }
}

pub async fn an_address_ignores_case_and_an_id_in_another_case_is_nobody_elses<S: Subject>() {
    let stage = Stage::<S>::new().await;
    let person = stage.somebody().await;
    finds(&stage, UserKey::Email(person.email.to_uppercase()), &[&person.id]).await;
    for other in [person.id.to_uppercase(), person.id.to_lowercase()] {
        let found = stage.provider.find(&UserKey::Id(other)).await.expect("a search");
        assert!(ids(&found).iter().all(|id| *id == person.id), "{found:?}");
    }
}

pub async fn a_key_costs_one_call<S: Subject>() {
    let stage = Stage::<S>::new().await;
    let person = stage.people().await.pop().expect("somebody");
    let mut keys = vec![UserKey::Id(person.id), UserKey::Email(person.email)];
    keys.extend(person.username.map(UserKey::Username));
    for key in keys {
        stage.provider.find(&key).await.expect("a search");
        assert_eq!(stage.calls().len(), 1, "{key:?}");
    }
}

pub async fn a_key_that_nobody_has_finds_nobody<S: Subject>() {
    let stage = Stage::<S>::new().await;
    let person = stage.somebody().await;
    let gone = stage.people().await.swap_remove(4);
    stage.act(&gone, Act::Deletes).await;
    let (local, domain) = person.email.split_once('@').expect("an address");
    let ids = ["nobody", S::NOBODY, "", "*", "%", "..", "search", &person.id[1..], &gone.id];
    let addresses = ["nobody@nowhere.invalid", "", " ", "*", "%", "_", "\"", "'", local, domain, &gone.email];
    for id in ids {
        finds(&stage, UserKey::Id(id.to_owned()), &[]).await;
    }
    for address in addresses {
        finds(&stage, UserKey::Email(address.to_owned()), &[]).await;
    }
}

/// Quotes, operators, line ends and the like around something that is there.
fn hostile(real: &str) -> Vec<String> {
    let ends = [
        "\"",
        "\\",
        "\\\"",
        "'",
        "\" or \"1\" eq \"1",
        "\" or email sw \"",
        "\") or (email pr",
        ")",
        "*",
        "%",
        "%22",
        "%00",
        "\0",
        "\r\nX-Evil: 1\r\n\r\n",
        "\n",
        "&email=",
        "&search=*",
        "#",
        "?x",
        "/..",
        ";",
        "+",
        " ",
        "\u{202e}",
        "\u{200b}",
        "\u{e9}",
    ];
    let starts = ["\"", "\\\"", "*", "(", "%", "..", "../", "\0", "\r\n", "\u{202e}", "=", "exact:"];
    let around =
        ends.iter().map(|end| format!("{real}{end}")).chain(starts.iter().map(|start| format!("{start}{real}")));
    around.chain(["\0", "\r\n", "\u{202e}", "\" or \"\" eq \"", "..", "/", "?", "{}"].map(str::to_owned)).collect()
}

pub async fn a_key_is_data_and_never_syntax<S: Subject>() {
    let stage = Stage::<S>::new().await;
    let person = stage.somebody().await;
    let places = |stage: &Stage<S>| -> Vec<(String, String)> {
        stage.calls().into_iter().map(|call| (call.method.to_string(), call.path)).collect()
    };
    finds(&stage, UserKey::Email(person.email.clone()), &[&person.id]).await;
    finds(&stage, UserKey::Email("nobody@nowhere.invalid".to_owned()), &[]).await;
    let ordinary = places(&stage);
    for address in hostile(&person.email) {
        finds(&stage, UserKey::Email(address.clone()), &[]).await;
        let called = places(&stage);
        assert!(called.iter().all(|call| ordinary.contains(call)), "{address:?} leads to {called:?}");
    }
    let Some(name) = person.username.filter(|_| S::CAPABILITIES.keys.username) else { return };
    finds(&stage, UserKey::Username(name.clone()), &[&person.id]).await;
    let ordinary = places(&stage);
    for name in hostile(&name) {
        finds(&stage, UserKey::Username(name.clone()), &[]).await;
        let called = places(&stage);
        assert!(called.iter().all(|call| ordinary.contains(call)), "{name:?} leads to {called:?}");
    }
}

pub async fn what_does_not_exist_there_is_unsupported_and_nothing_is_sent<S: Subject>() {
    let stage = Stage::<S>::new().await;
    let can = stage.provider.capabilities();
    assert_eq!(can, S::CAPABILITIES);
    let id = stage.somebody().await.id;
    let mut errors = Vec::new();
    if !can.keys.username {
        errors.push(stage.provider.find(&UserKey::Username("somebody".to_owned())).await.err());
    }
    for (kind, listing, has) in [
        (SetKind::Group, Listing::Group("1".to_owned()), can.groups),
        (SetKind::Population, Listing::Population("1".to_owned()), can.populations),
    ] {
        if !has {
            errors.push(stage.provider.sets(kind, POPULATION).await.err());
            errors.push(stage.provider.list(&listing, None).await.err());
        }
    }
    if !can.revoke_sessions {
        let step = Step::RevokeSessions(password_reset_operator::plan::observed::AccountId(id));
        errors.push(stage.provider.apply(&step, &open()).await.err());
    }
    if !can.tenant_native {
        errors.push(stage.provider.apply(&Step::RequireEverybody, &open()).await.err());
    }
    for error in errors {
        assert_eq!(error.expect("an error").kind, ErrorKind::Unsupported);
    }
    assert_eq!(stage.wire.take(), []);
}
