//! Is what a row lacks filled in, and by no call too many?

use password_reset_operator::plan::capabilities::Visibility;
use password_reset_operator::plan::observed::{Account, ChangeTime, Credential, Mark, SignIn};

use crate::stage::Stage;
use crate::subject::{Person, Subject};

/// The person's row of a listing, completed, and the calls that completing it took.
async fn completed<S: Subject>(stage: &Stage<S>, person: &Person) -> (Account, usize) {
    let row = stage.rows().await.into_iter().find(|row| row.id.0 == person.id).expect("everybody is listed");
    stage.calls();
    let account = stage.provider.complete(row).await.expect("a row");
    (account, stage.calls().len())
}

pub async fn a_row_costs_a_call_only_for_what_it_lacks<S: Subject>() {
    let stage = Stage::<S>::new().await;
    let people = stage.people().await;
    stage.mark(&people[0]).await;
    let can = S::CAPABILITIES;
    let change_time_costs = can.visibility == Visibility::MarkAndChangeTime && !can.list_shows_change_time;
    let (marked, cost) = completed(&stage, &people[0]).await;
    assert_eq!((marked.mark, cost), (Mark::Marked, usize::from(!can.list_shows_mark)), "a marked row");
    let (unmarked, cost) = completed(&stage, &people[1]).await;
    let expected = usize::from(!can.list_shows_mark || change_time_costs);
    assert_eq!((unmarked.mark, cost), (Mark::Unmarked, expected), "an unmarked row");
    for account in [marked, unmarked] {
        assert_eq!(stage.provider.complete(account.clone()).await.expect("a row"), account);
        assert_eq!(stage.calls(), [], "a row that lacks nothing costs nothing");
    }
}

pub async fn mark_change_time_and_credential_are_there_afterwards<S: Subject>() {
    let stage = Stage::<S>::new().await;
    for person in stage.people().await {
        let (account, _) = completed(&stage, &person).await;
        assert_eq!((account.mark, account.credential), (Mark::Unmarked, Credential::Local));
        assert_eq!(account.disabled, Some(false));
        match S::CAPABILITIES.visibility {
            Visibility::MarkAndChangeTime => assert!(matches!(account.changed, ChangeTime::At(_))),
            Visibility::MarkAndSignIn => assert_ne!(account.sign_in, SignIn::NotGiven),
        }
    }
}

pub async fn a_completed_row_says_the_same_as_a_read<S: Subject>() {
    let stage = Stage::<S>::new().await;
    let shown = |account: Account| {
        let Account { id, username, emails, credential, mark, changed, locked, disabled, .. } = account;
        (id, username, emails, credential, mark, changed, locked, disabled)
    };
    for person in &stage.people().await[..3] {
        let (account, _) = completed(&stage, person).await;
        assert!(account.emails.contains(&person.email));
        assert_eq!(account.username, person.username);
        assert_eq!(shown(account), shown(stage.read(person).await));
    }
}
