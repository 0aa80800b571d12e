//! Where no change time is shown: does a sign-in after the mark is gone show that somebody complied?

use jiff::Timestamp;
use password_reset_operator::plan::observed::{Account, ChangeTime, Mark, SignIn};

use crate::stage::Stage;
use crate::subject::{Act, Subject};

fn signed_in(account: &Account) -> Timestamp {
    let SignIn::At(at) = account.sign_in else { panic!("no sign-in: {:?}", account.sign_in) };
    at
}

pub async fn complying_takes_the_mark_away_and_moves_the_last_sign_in<S: Subject>() {
    let stage = Stage::<S>::new().await;
    let person = stage.somebody().await;
    let before = stage.read(&person).await;
    stage.mark(&person).await;
    let marked = stage.read(&person).await;
    assert_eq!((marked.mark, signed_in(&marked)), (Mark::Marked, signed_in(&before)));
    stage.act(&person, Act::Complies).await;
    let after = stage.read(&person).await;
    assert_eq!(after.mark, Mark::Unmarked);
    assert!(signed_in(&after) > signed_in(&before));
    let row = stage.row(&person).await;
    let completed = stage.provider.complete(row).await.expect("a row");
    assert_eq!((completed.mark, completed.sign_in), (after.mark, after.sign_in));
}

pub async fn a_change_time_is_never_given<S: Subject>() {
    let stage = Stage::<S>::new().await;
    for person in stage.people().await {
        assert_eq!(stage.read(&person).await.changed, ChangeTime::Absent);
    }
}
