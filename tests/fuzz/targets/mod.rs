//! The targets: each is a function of bytes that panics where the product does, or where it says what it must not.

mod answers;
mod texts;

pub use answers::{keycloak, looker, monocloud, pingone, token};
pub use texts::{addresses, ca_bundle, campaign_key, credentials, ledger, links, objects, times, user_list};

/// A function of bytes.
pub type Target = fn(&[u8]);

/// All targets by name, in order.
pub fn all() -> impl Iterator<Item = (&'static str, Target)> {
    let all: [(&str, Target); 14] = [
        ("addresses", addresses),
        ("ca_bundle", ca_bundle),
        ("campaign_key", campaign_key),
        ("credentials", credentials),
        ("keycloak", keycloak),
        ("ledger", ledger),
        ("links", links),
        ("looker", looker),
        ("monocloud", monocloud),
        ("objects", objects),
        ("pingone", pingone),
        ("times", times),
        ("token", token),
        ("user_list", user_list),
    ];
    all.into_iter()
}
