//! Is everybody in a listing, once, and does it end only where it ends?

use password_reset_operator::plan::observed::{Cursor, Listing};
use password_reset_operator::provider::ErrorKind;

use crate::stage::{PAGE, Stage, ids};
use crate::subject::{Act, Subject};

async fn everybody<S: Subject>(stage: &Stage<S>) -> Vec<String> {
    let mut everybody: Vec<String> = stage.subject.accounts().await.into_iter().map(|person| person.id).collect();
    everybody.sort();
    everybody
}

pub async fn everybody_comes_exactly_once_over_several_pages<S: Subject>() {
    let stage = Stage::<S>::new().await;
    let pages = stage.pages(&Listing::Tenant).await.expect("a listing");
    assert!(pages.len() >= 3, "{} pages", pages.len());
    assert!(pages.iter().all(|page| page.len() <= PAGE as usize));
    assert_eq!(ids(&pages.concat()), everybody(&stage).await);
    assert_eq!(stage.calls().len(), pages.len(), "one call a page");
}

pub async fn pages_smaller_than_asked_for_are_not_the_end<S: Subject>() {
    let stage = Stage::<S>::new().await;
    stage.wire.largest_page(S::PAGE_SIZE, 2);
    let pages = stage.pages(&Listing::Tenant).await.expect("a listing");
    assert!(pages.iter().all(|page| page.len() <= 2), "the wire makes pages smaller");
    assert_eq!(ids(&pages.concat()), everybody(&stage).await);
}

pub async fn a_total_is_true_where_it_is_announced<S: Subject>() {
    let stage = Stage::<S>::new().await;
    let accounts = stage.subject.accounts().await.len() as u64;
    let (mut cursor, mut announced) = (None, Vec::new());
    loop {
        let page = stage.provider.list(&Listing::Tenant, cursor.as_ref()).await.expect("a page");
        announced.extend(page.total);
        let Some(next) = page.next else { break };
        cursor = Some(next);
    }
    assert!(announced.iter().all(|total| *total == accounts), "{announced:?}");
}

pub async fn who_was_hired_is_in_it_and_who_was_deleted_is_not<S: Subject>() {
    let stage = Stage::<S>::new().await;
    let gone = stage.somebody().await;
    let before = ids(&stage.rows().await);
    let hired = stage.subject.hires().await;
    stage.act(&gone, Act::Deletes).await;
    let after = ids(&stage.rows().await);
    assert_eq!(after, everybody(&stage).await);
    assert_eq!(after.len(), before.len());
    assert!(after.contains(&hired) && !after.contains(&gone.id));
}

pub async fn a_place_that_cannot_be_read_is_an_error_and_nothing_is_sent<S: Subject>() {
    let stage = Stage::<S>::new().await;
    for place in ["", " ", "garbage", "-1", "0 0", "http://127.0.0.1:1/users", "0 0 0 http://127.0.0.1:1/users"] {
        let cursor = Cursor(place.to_owned());
        let error = stage.provider.list(&Listing::Tenant, Some(&cursor)).await.expect_err(place);
        assert!(matches!(error.kind, ErrorKind::ResponseInvalid | ErrorKind::EndpointRefused), "{place:?}: {error}");
    }
    assert_eq!(stage.calls(), []);
}
