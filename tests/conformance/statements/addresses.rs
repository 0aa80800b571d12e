//! Does an id, whatever is in it, stay one segment of the path?

use std::collections::{BTreeMap, BTreeSet};

use password_reset_operator::plan::observed::{AccountId, UserKey};
use password_reset_operator::plan::step::Step;
use password_reset_operator::provider::ErrorKind;
use url::Url;

use crate::stage::{Stage, open};
use crate::subject::Subject;
use crate::wire::Call;

/// Method and path of each call, with `{id}` in place of the segment that is `id`.
fn templates(calls: &[Call], id: &str) -> BTreeSet<String> {
    let mut url = Url::parse("http://host").expect("an address");
    url.path_segments_mut().expect("a path").push(id);
    let encoded = &url.path()[1..].replace(';', "%3B");
    let segment = |part: &str| if part == encoded { "{id}".to_owned() } else { part.to_owned() };
    let path = |call: &Call| call.path.split('/').map(segment).collect::<Vec<_>>().join("/");
    calls.iter().map(|call| format!("{} {}", call.method, path(call))).collect()
}

/// Everything that names one account by its id is asked: how each call ends.
async fn ask<S: Subject>(stage: &Stage<S>, id: &str) -> BTreeMap<&'static str, Result<(), ErrorKind>> {
    let (provider, account) = (&stage.provider, AccountId(id.to_owned()));
    let found = provider.find(&UserKey::Id(id.to_owned())).await.map_err(|error| error.kind);
    let found = found.and_then(|found| if found.is_empty() { Err(ErrorKind::NotFound) } else { Ok(()) });
    let read = provider.read(&account).await.map(drop).map_err(|error| error.kind);
    let back = provider.read_back(&account).await.map(drop).map_err(|error| error.kind);
    let step = Step::RequireChange(account.clone());
    let required = provider.apply(&step, &open()).await.map(drop).map_err(|error| error.kind);
    let mut ends = BTreeMap::from([("find", found), ("read", read), ("read back", back), ("require", required)]);
    if S::CAPABILITIES.revoke_sessions {
        let ended = provider.apply(&Step::RevokeSessions(account), &open()).await;
        ends.insert("end sessions", ended.map(drop).map_err(|error| error.kind));
    }
    ends
}

pub async fn an_id_stays_one_segment_of_the_path<S: Subject>() {
    let stage = Stage::<S>::new().await;
    let person = stage.somebody().await;
    let ends = ask(&stage, &person.id).await;
    assert!(ends.values().all(Result::is_ok), "{ends:?}");
    let mut known = templates(&stage.calls(), &person.id);
    // Others are about sessions, which have ids of their own.
    known.retain(|template| template.contains("{id}"));
    assert!(known.len() >= 2, "{known:?}");

    let real = &person.id;
    let hostile = [
        "a/b", "/", "//", "../x", "..", ".", "%2e%2e", "%2F", "a%2Fb", "a?b=c", "?", "a#b", "a;b", "a b", " ", "",
        "a\\b", "a\nb", "é", "+", "&", "search", "me",
    ];
    let around = ["/", "/password", "?x", "#x", ";x", "%00", "/../x"].map(|end| format!("{real}{end}"));
    let before = ["../", "./", "/", "x/../"].map(|start| format!("{start}{real}"));
    let mut wrong = Vec::new();
    for id in hostile.into_iter().map(str::to_owned).chain(around).chain(before) {
        for (call, end) in ask(&stage, &id).await {
            let reads = call.starts_with("read") || call == "find";
            let right = end == Err(ErrorKind::NotFound) || (!reads && end == Err(S::WRITE_TO_NOBODY));
            if !right {
                wrong.push(format!("{call} {id:?} ends with {end:?}"));
            }
        }
        let called = templates(&stage.calls(), &id);
        if !called.is_subset(&known) {
            wrong.push(format!("{id:?} leads to {called:?}"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert_eq!(stage.subject.requirements().await, BTreeMap::from([(person.id, 1)]));
}
