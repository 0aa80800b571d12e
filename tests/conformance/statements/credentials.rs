//! What becomes of a credential that is refused?

use std::collections::BTreeMap;

use password_reset_operator::plan::observed::{AccountId, Listing, UserKey};
use password_reset_operator::provider::{ErrorKind, ProviderError};

use crate::stage::Stage;
use crate::subject::{Credential, Subject};

pub async fn a_refused_credential_is_an_authentication_failure_whatever_is_asked<S: Subject>() {
    let stage = Stage::<S>::with(Credential::Wrong).await;
    let (provider, person) = (&stage.provider, stage.somebody().await);
    let id = AccountId(person.id.clone());
    let errors: [Option<ProviderError>; 8] = [
        provider.verify(false).await.err(),
        provider.verify(true).await.err(),
        provider.list(&Listing::Tenant, None).await.err(),
        provider.find(&UserKey::Id(person.id.clone())).await.err(),
        provider.find(&UserKey::Email(person.email.clone())).await.err(),
        provider.read(&id).await.err(),
        provider.read_back(&id).await.err(),
        stage.require(&person).await.err(),
    ];
    for error in errors {
        let error = error.expect("a refusal");
        assert_eq!((error.kind, error.effect_unknown), (ErrorKind::AuthenticationFailed, false), "{error}");
    }
    assert_eq!(stage.subject.requirements().await, BTreeMap::new());
    assert_eq!(stage.truth(&person.id).await, Some(person));
}

pub async fn a_refused_credential_costs_at_most_one_request_a_call<S: Subject>() {
    let stage = Stage::<S>::with(Credential::Wrong).await;
    for _ in 0..5 {
        stage.provider.list(&Listing::Tenant, None).await.expect_err("a refusal");
        assert!(stage.wire.take().len() <= 1);
    }
    stage.provider.verify(true).await.expect_err("a refusal");
    assert_eq!(stage.wire.take().len(), 1, "a probe is one request");
}
