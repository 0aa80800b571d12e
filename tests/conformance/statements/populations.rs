//! Populations.

use password_reset_operator::plan::observed::SetKind;

use super::sets;
use crate::subject::{POPULATION, Subject};

pub async fn a_name_and_an_id_find_one_and_nothing_else_does<S: Subject>() {
    sets::is_found::<S>(SetKind::Population, POPULATION).await;
}

pub async fn members_are_direct_members_exactly_once<S: Subject>() {
    sets::shows_its_direct_members::<S>(SetKind::Population, POPULATION).await;
}
