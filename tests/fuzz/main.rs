//! Every parser of outside input, fed with what nobody should send.
//!
//! A target is a function of bytes. Its corpus is a few files in `corpus/<target>/`; a seeded mutator makes the rest.
//! Nothing may panic, hang, or take more than 16 MiB for an input of at most 4 MiB; nor, in an optimised build (`make fuzz`),
//! a second of a processor's time.
//!
//! | variable | effect |
//! |---|---|
//! | `FUZZ_SECONDS` | runs each target for so long, with a seed of its own for each round, instead of a fixed number of inputs |
//! | `FUZZ_SEED` | the seed of the first round, as a failure prints it |
//! | `FUZZ_INPUT` | a file that is the only input, as a failure names it |

#![allow(clippy::disallowed_methods)] // they are the operator's rules

mod campaign;
#[path = "../support/dice.rs"]
mod dice;
mod mutator;
mod targets;

/// Counts what the inputs cost.
#[global_allocator]
static MEMORY: peak_alloc::PeakAlloc = peak_alloc::PeakAlloc;

macro_rules! fuzzed {
    ($($test:ident: $target:ident, $inputs:literal, $largest:expr;)*) => {
        $(
            #[test]
            fn $test() {
                campaign::run(stringify!($target), targets::$target, $inputs, $largest);
            }
        )*

        #[test]
        fn every_target_has_a_corpus_and_every_corpus_a_target() {
            let mut targets = vec![$(stringify!($target)),*];
            targets.sort_unstable();
            assert_eq!(campaign::corpora(), targets);
            assert_eq!(targets::all().map(|(name, _)| name).collect::<Vec<_>>(), targets);
        }
    };
}

const KIB: usize = 1024;
const MIB: usize = 1024 * KIB;

// How many mutated inputs the short run makes, and how large one can be at its source: an answer is read up to 4 MiB, the
// API server takes 1 MiB of data and 256 KiB of annotations, and what our CRDs let through is smaller still.
fuzzed! {
    no_answer_of_pingone_breaks_its_client: pingone, 60, 4 * MIB;
    no_answer_of_looker_breaks_its_client: looker, 60, 4 * MIB;
    no_answer_of_monocloud_breaks_its_client: monocloud, 60, 4 * MIB;
    no_answer_of_keycloak_breaks_its_client: keycloak, 60, 4 * MIB;
    no_answer_of_a_token_endpoint_breaks_a_client: token, 60, 4 * MIB;
    no_link_header_and_no_cursor_breaks_a_listing: links, 1_000, 256 * KIB;
    no_time_and_no_pause_breaks_a_client: times, 1_000, 256 * KIB;
    no_address_leads_out_of_its_base: addresses, 1_000, 64 * KIB;
    no_user_list_breaks_the_reader: user_list, 1_000, MIB;
    no_ledger_shard_breaks_the_reader: ledger, 1_000, MIB;
    no_annotation_breaks_the_name_of_a_campaign: campaign_key, 1_000, 256 * KIB;
    no_secret_breaks_the_reader_of_credentials: credentials, 1_000, MIB;
    no_bundle_of_certificates_breaks_a_client: ca_bundle, 200, MIB;
    no_object_breaks_the_reader_of_specs: objects, 500, 256 * KIB;
}
