//! Groups.

use password_reset_operator::plan::observed::SetKind;

use super::sets;
use crate::subject::{EMPTY_GROUP, GROUP, Subject};

pub async fn a_name_and_an_id_find_one_and_nothing_else_does<S: Subject>() {
    sets::is_found::<S>(SetKind::Group, GROUP).await;
}

pub async fn members_are_direct_members_exactly_once<S: Subject>() {
    sets::shows_its_direct_members::<S>(SetKind::Group, GROUP).await;
}

pub async fn one_without_members_lists_nobody<S: Subject>() {
    sets::shows_nobody::<S>(SetKind::Group, EMPTY_GROUP).await;
}
