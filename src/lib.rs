//! A Kubernetes operator that makes people change passwords that may have leaked, and proves that they did.
//!
//! The one idea: a policy is a *date*, not a flag. "Every targeted account's password was changed at or after **T**,
//! or its owner cannot go on without changing it." A date can be observed again after every crash; a flag cannot.
//!
//! # The pipeline
//!
//! ```text
//! watch ─► dereference ─► resolve ─► observe ─► plan ─► guard ─► apply ─► report ─► publish
//!           K8s reads      pure       IdP        pure    pure     IdP      pure      one status patch
//! ```
//!
//! # Rooms, and who may import whom
//!
//! | module | question it answers | may import |
//! |---|---|---|
//! | [`api`] | what do users write and read? | nothing inside |
//! | [`plan`] | what has to be done? (pure: no async, clock, client or randomness; `now` is an argument) | `api` |
//! | [`status`] | what has to be said? (pure) | `plan`, `api` |
//! | [`provider`] | how does the outside world do it? | `plan`, `api`, `telemetry` |
//! | [`controller`] | when, and what does Kubernetes say? | all of the above |
//! | [`telemetry`] | what can be seen from outside? | nothing inside |
//!
//! # Glossary
//!
//! *Require a change* is what we do to an account. The *mark* is the provider's must-change flag. The *cutoff* is T.
//! A *tenant* is one directory of users at a provider. A *pass* looks at every targeted account once. The *ledger*
//! remembers what was intended, seen and done per account, since some providers show too little to tell it again.

pub mod api;
pub mod controller;
pub mod generate;
pub mod plan;
pub mod provider;
pub mod settings;
pub mod status;
pub mod telemetry;
