//! Does reading leave everything as it is?

use std::collections::BTreeMap;

use password_reset_operator::plan::observed::{AccountId, Listing, SetKind, UserKey};

use crate::stage::Stage;
use crate::subject::{GROUP, POPULATION, Subject};
use crate::wire::Kind;

pub async fn reading_everything_changes_nothing<S: Subject>() {
    let stage = Stage::<S>::new().await;
    let can = S::CAPABILITIES;
    let before = stage.subject.accounts().await;
    stage.provider.verify(true).await.expect("a tenant");
    for row in stage.rows().await {
        stage.provider.complete(row).await.expect("a row");
    }
    let sets = [(SetKind::Group, GROUP, can.groups), (SetKind::Population, POPULATION, can.populations)];
    for (kind, name, _) in sets.into_iter().filter(|(.., has)| *has) {
        for id in stage.provider.sets(kind, name).await.expect("sets") {
            let listing = if kind == SetKind::Group { Listing::Group(id) } else { Listing::Population(id) };
            stage.pages(&listing).await.expect("members");
        }
    }
    for person in stage.people().await {
        let id = AccountId(person.id.clone());
        stage.provider.find(&UserKey::Id(person.id)).await.expect("a search");
        stage.provider.find(&UserKey::Email(person.email)).await.expect("a search");
        stage.provider.read(&id).await.expect("a read");
        stage.provider.read_back(&id).await.expect("a read-back");
    }
    let calls = stage.calls();
    assert!(calls.len() > before.len() * 4, "{} calls", calls.len());
    assert!(calls.iter().all(|call| call.kind == Kind::Read), "{calls:?}");
    assert_eq!(stage.subject.requirements().await, BTreeMap::new());
    assert_eq!(stage.subject.accounts().await, before);
}
