//! Are groups and populations found by their exact names, and do they show their direct members? For either kind.

use password_reset_operator::plan::observed::{Listing, SetKind};

use crate::stage::{Stage, ids, pages};
use crate::subject::Subject;

fn listing(kind: SetKind, id: &str) -> Listing {
    match kind {
        SetKind::Group => Listing::Group(id.to_owned()),
        SetKind::Population => Listing::Population(id.to_owned()),
    }
}

/// Found by name and by id; nothing that only resembles the name finds it.
pub async fn is_found<S: Subject>(kind: SetKind, name: &str) {
    let stage = Stage::<S>::new().await;
    let sets = async |name: &str| stage.provider.sets(kind, name).await.expect("an answer");
    let found = sets(name).await;
    assert_eq!(found.len(), 1, "{found:?}");
    assert_eq!(sets(&found[0]).await, found, "by id");
    let (part, end) = name.split_at(name.len() - 1);
    let others = [
        "no-such-name",
        S::NOBODY,
        "",
        " ",
        "*",
        "%",
        "\"",
        "'",
        "..",
        "a/b",
        "\0",
        "\u{202e}",
        &format!("{name}\" or name pr or \"\" eq \""),
        &format!("{name}\""),
        &format!("{name}\\"),
        &format!("{name}\r\nX-Evil: 1"),
        &format!("{name}&search="),
        &format!("{name}/../.."),
        &name.to_uppercase(),
        part,
        end,
        &format!("{part}_"),
        &format!("{part}%"),
        &format!("{name} "),
    ]
    .map(str::to_owned);
    for other in others {
        assert_eq!(sets(&other).await, [""; 0], "{other:?}");
    }
}

/// Exactly the direct members are listed, each once, over several pages.
pub async fn shows_its_direct_members<S: Subject>(kind: SetKind, name: &str) {
    let stage = Stage::<S>::new().await;
    let found = stage.provider.sets(kind, name).await.expect("an answer");
    let listed = pages(&*stage.another(2), &listing(kind, &found[0])).await.expect("members");
    assert!(listed.len() >= 2, "{} pages", listed.len());
    let expected: Vec<String> = stage.subject.members(kind, name).await.into_iter().collect();
    assert!(expected.len() >= 3, "{expected:?}");
    assert_eq!(ids(&listed.concat()), expected);
}

/// A set without members lists nobody.
pub async fn shows_nobody<S: Subject>(kind: SetKind, name: &str) {
    let stage = Stage::<S>::new().await;
    let found = stage.provider.sets(kind, name).await.expect("an answer");
    assert_eq!(found.len(), 1, "{found:?}");
    let listed = pages(&*stage.provider, &listing(kind, &found[0])).await.expect("members");
    assert_eq!(ids(&listed.concat()), [""; 0]);
}
