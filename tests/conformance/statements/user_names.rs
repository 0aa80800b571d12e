//! Does a user name find the account that has it, and no other?

use password_reset_operator::plan::observed::UserKey;

use super::finding::finds;
use crate::stage::Stage;
use crate::subject::Subject;

pub async fn a_user_name_finds_exactly_its_account_whatever_its_case<S: Subject>() {
    let stage = Stage::<S>::new().await;
    for person in stage.people().await {
        let name = person.username.expect("a user name");
        finds(&stage, UserKey::Username(name.to_uppercase()), &[&person.id]).await;
        finds(&stage, UserKey::Username(name), &[&person.id]).await;
    }
}

pub async fn a_user_name_that_nobody_has_finds_nobody<S: Subject>() {
    let stage = Stage::<S>::new().await;
    let name = stage.somebody().await.username.expect("a user name");
    for part in ["nobody-of-that-name", "", " ", "*", "%", "\"", "'", &name[1..], &name[..name.len() - 1]] {
        let someone = stage.people().await.into_iter().find(|person| person.username.as_deref() == Some(part));
        let expected: Vec<&str> = someone.iter().map(|person| person.id.as_str()).collect();
        finds(&stage, UserKey::Username(part.to_owned()), &expected).await;
    }
}
