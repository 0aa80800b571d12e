//! Is what admins do to a mark shown as what it is?

use password_reset_operator::plan::observed::Mark;

use crate::stage::Stage;
use crate::subject::{Act, Subject};

pub async fn a_mark_set_by_an_admin_is_shown<S: Subject>() {
    let stage = Stage::<S>::new().await;
    let person = stage.somebody().await;
    stage.act(&person, Act::Marks).await;
    assert_eq!(stage.read(&person).await.mark, Mark::Marked);
    let row = stage.row(&person).await;
    assert_eq!(stage.provider.complete(row).await.expect("a row").mark, Mark::Marked);
}

pub async fn a_mark_cleared_by_an_admin_leaves_no_sign_of_a_change<S: Subject>() {
    let stage = Stage::<S>::new().await;
    let person = stage.somebody().await;
    let before = stage.read(&person).await;
    stage.mark(&person).await;
    stage.act(&person, Act::Clears).await;
    let after = stage.read(&person).await;
    assert_eq!(after.mark, Mark::Unmarked);
    assert_eq!((after.changed, after.sign_in), (before.changed, before.sign_in));
    assert_eq!(after.credential_created, before.credential_created);
}
