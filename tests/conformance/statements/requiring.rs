//! Is a change required of exactly the account that is meant?

use std::collections::BTreeMap;

use password_reset_operator::plan::observed::{AccountId, Mark};
use password_reset_operator::provider::ErrorKind;

use crate::stage::Stage;
use crate::subject::{Act, Person, Subject};

pub async fn exactly_that_account_is_marked_and_everybody_else_is_as_before<S: Subject>() {
    let stage = Stage::<S>::new().await;
    let person = stage.somebody().await;
    let before = stage.subject.accounts().await;
    let applied = stage.require(&person).await.expect("a write");
    assert!(applied.written);
    let meant = |other: Person| Person { marked: other.marked || other.id == person.id, ..other };
    let expected: Vec<Person> = before.into_iter().map(meant).collect();
    assert_eq!(stage.subject.accounts().await, expected);
    assert_eq!(stage.subject.requirements().await, BTreeMap::from([(person.id, 1)]));
}

pub async fn it_is_confirmed_by_its_answer_or_by_reading_back<S: Subject>() {
    let stage = Stage::<S>::new().await;
    let person = stage.somebody().await;
    let applied = stage.require(&person).await.expect("a write");
    let id = AccountId(person.id);
    let back = stage.provider.read_back(&id).await.expect("a read-back");
    for account in applied.seen.into_iter().chain([back]) {
        assert_eq!((account.id, account.mark), (id.clone(), Mark::Marked));
    }
}

pub async fn it_takes_as_many_calls_as_the_capabilities_say<S: Subject>() {
    let stage = Stage::<S>::new().await;
    let person = stage.somebody().await;
    let applied = stage.require(&person).await.expect("a write");
    if applied.seen.is_none() {
        stage.provider.read_back(&AccountId(person.id)).await.expect("a read-back");
    }
    let calls = stage.calls();
    assert_eq!(calls.len(), S::CAPABILITIES.calls_per_write as usize, "{calls:?}");
}

pub async fn a_listing_shows_exactly_who_was_marked<S: Subject>() {
    let stage = Stage::<S>::new().await;
    let people = stage.people().await;
    for person in &people[..4] {
        stage.mark(person).await;
    }
    for row in stage.rows().await {
        let Some(position) = people.iter().position(|person| person.id == row.id.0) else { continue };
        let account = stage.provider.complete(row).await.expect("a row");
        assert_eq!(account.mark == Mark::Marked, position < 4, "person {position}");
    }
}

pub async fn who_is_gone_is_refused_and_reads_say_not_found<S: Subject>() {
    let stage = Stage::<S>::new().await;
    let person = stage.somebody().await;
    stage.act(&person, Act::Deletes).await;
    let nobody = Person { id: S::NOBODY.to_owned(), ..person.clone() };
    for gone in [person, nobody] {
        let error = stage.require(&gone).await.expect_err("nobody is there");
        assert_eq!((error.kind, error.effect_unknown), (S::WRITE_TO_NOBODY, false), "{error}");
        let id = AccountId(gone.id);
        assert_eq!(stage.provider.read(&id).await.expect_err("nobody").kind, ErrorKind::NotFound);
        assert_eq!(stage.provider.read_back(&id).await.expect_err("nobody").kind, ErrorKind::NotFound);
    }
    assert_eq!(stage.subject.requirements().await, BTreeMap::new());
}
