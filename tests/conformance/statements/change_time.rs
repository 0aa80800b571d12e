//! Does the time of the last change move when, and only when, a password is changed?

use jiff::Timestamp;
use password_reset_operator::plan::observed::{Account, ChangeTime, Mark};

use crate::stage::Stage;
use crate::subject::{Act, Subject};

fn changed(account: &Account) -> Timestamp {
    let ChangeTime::At(at) = account.changed else { panic!("no change time: {:?}", account.changed) };
    at
}

pub async fn complying_takes_the_mark_away_and_moves_the_change_time<S: Subject>() {
    let stage = Stage::<S>::new().await;
    let person = stage.somebody().await;
    let before = stage.read(&person).await;
    stage.mark(&person).await;
    stage.act(&person, Act::Complies).await;
    let after = stage.read(&person).await;
    assert_eq!(after.mark, Mark::Unmarked);
    assert!(changed(&after) > changed(&before));
    let row = stage.row(&person).await;
    let completed = stage.provider.complete(row).await.expect("a row");
    assert_eq!((completed.mark, completed.changed), (after.mark, after.changed));
}

pub async fn signing_in_moves_no_change_time<S: Subject>() {
    let stage = Stage::<S>::new().await;
    let person = stage.somebody().await;
    let before = stage.read(&person).await;
    stage.act(&person, Act::SignsIn).await;
    let after = stage.read(&person).await;
    assert_eq!((after.mark, changed(&after)), (Mark::Unmarked, changed(&before)));
}
