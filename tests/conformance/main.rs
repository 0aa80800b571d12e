//! Does every provider keep the promises of the trait `Provider`?
//!
//! One set of statements, written once, is run for each provider: PingOne, Looker and MonoCloud against their simulators,
//! Keycloak for real. A statement knows no vendor. It sees the provider through the trait, the truth through a
//! [`subject::Subject`], and what is sent through a [`wire::Wire`] that stands between the two, counts, and breaks
//! answers where a statement wants that. What is peculiar to a vendor is tested in `tests/providers_*`.
//!
//! | file | question |
//! |---|---|
//! | `subject` | what has to be known about a provider to judge it? |
//! | `subjects/` | how is that known for each of them? One file a provider |
//! | `stage` | what does every statement begin with? |
//! | `wire` | what was sent, and how do answers go wrong? |
//! | `statements/` | what must be true? One file a chapter |
//! | `suite` | which chapters are there, whom do they apply to? |
//!
//! # Adding a provider
//!
//! 1. Write `subjects/<name>.rs` with one implementation of [`subject::Subject`]; a simulator of the crate `simulators`
//!    needs `subjects::simulated::Vendor` only.
//! 2. Add one line `provider!` below, with the chapters that its capabilities call for. The table test fails for each
//!    chapter too many or too few.
//! 3. Add to [`NOT_APPLICABLE`] what does not apply, so that nothing is left out silently.
//!
//! Run one provider with `cargo test --test conformance looker::`.

#[macro_use]
mod suite;
mod stage;
mod statements;
mod subject;
mod subjects;
mod wire;

provider!(pingone: crate::subjects::PingOne => user_names groups populations sessions change_time tokens);
provider!(looker: crate::subjects::Looker => groups sessions everybody sign_in tokens);
provider!(monocloud: crate::subjects::MonoCloud => user_names groups sessions change_time);
provider!(keycloak: crate::subjects::Keycloak => user_names groups sessions change_time tokens);

/// Every chapter that is not run for a provider.
const NOT_APPLICABLE: &[(&str, &str)] = &[
    ("PingOne", "everybody"),
    ("PingOne", "sign_in"),
    ("Looker", "user_names"),
    ("Looker", "populations"),
    ("Looker", "change_time"),
    ("MonoCloud", "populations"),
    ("MonoCloud", "everybody"),
    ("MonoCloud", "sign_in"),
    ("MonoCloud", "tokens"),
    ("Keycloak", "populations"),
    ("Keycloak", "everybody"),
    ("Keycloak", "sign_in"),
];

#[test]
fn every_chapter_is_run_for_exactly_the_providers_whose_capabilities_call_for_it() {
    let providers = [pingone::RUN, looker::RUN, monocloud::RUN, keycloak::RUN];
    let mut left_out = Vec::new();
    for run in providers {
        for chapter in suite::CONDITIONAL {
            let applies = (chapter.applies)(run.capabilities, run.tokens);
            let name = run.capabilities.name;
            assert_eq!(run.chapters.contains(&chapter.name), applies, "{name}, chapter {}", chapter.name);
            if !applies {
                println!("{name}: {} is not run, since it {}", chapter.name, chapter.otherwise);
                left_out.push((name, chapter.name));
            }
        }
        let known = |name: &&&str| suite::CONDITIONAL.iter().any(|chapter| chapter.name == **name);
        assert_eq!(run.chapters.iter().filter(known).count(), run.chapters.len());
    }
    assert_eq!(left_out, NOT_APPLICABLE);
}
