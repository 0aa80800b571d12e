//! Is a provider that cannot cope told from one that refuses?

use std::time::Duration;

use password_reset_operator::plan::observed::Listing;
use password_reset_operator::provider::ErrorKind;

use crate::stage::{PAGE, Stage, open, requirement};
use crate::subject::Subject;
use crate::wire::{Answer, Kind};

/// Longer than a provider sits out on its own.
const PAUSE: u64 = 30;

fn too_many() -> Answer {
    Answer::Whole { status: 429, headers: vec![("retry-after", PAUSE.to_string())], body: "{}".to_owned() }
}

pub async fn too_many_requests_is_throttled_with_the_pause_asked_for<S: Subject>() {
    let stage = Stage::<S>::new().await;
    stage.wire.fail_once(Kind::Read, too_many());
    let error = stage.provider.list(&Listing::Tenant, None).await.expect_err("no room");
    assert_eq!((error.kind, error.retry_after), (ErrorKind::Throttled, Some(Duration::from_secs(PAUSE))));
    assert_eq!(stage.calls().len(), 1);
    let error = stage.provider.list(&Listing::Tenant, None).await.expect_err("a pause");
    assert_eq!(error.kind, ErrorKind::Throttled);
    assert!(error.retry_after.is_some());
    assert_eq!(stage.calls(), [], "nothing is sent during the pause");
}

pub async fn a_throttled_write_is_not_in_doubt<S: Subject>() {
    let stage = Stage::<S>::new().await;
    let person = stage.somebody().await;
    stage.wire.fail(Kind::Write, false, too_many());
    let error = stage.provider.apply(&requirement(&person), &open()).await.expect_err("no room");
    assert_eq!((error.kind, error.effect_unknown), (ErrorKind::Throttled, false));
    assert_eq!(error.retry_after, Some(Duration::from_secs(PAUSE)));
    assert_eq!(stage.calls().into_iter().filter(|call| call.kind == Kind::Write).count(), 1);
}

pub async fn a_failing_server_is_unreachable<S: Subject>() {
    let stage = Stage::<S>::new().await;
    for answer in [500, 502, 503, 504].map(|status| Answer::json(status, "{}")).into_iter().chain([Answer::Lost]) {
        stage.wire.fail(Kind::Read, false, answer.clone());
        let error = stage.another(PAGE).list(&Listing::Tenant, None).await.expect_err("a failure");
        assert_eq!(error.kind, ErrorKind::Unreachable, "{answer:?}: {error}");
        assert_eq!(stage.calls().len(), 1, "{answer:?}: not repeated");
    }
}
