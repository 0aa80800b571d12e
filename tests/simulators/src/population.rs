//! Who lives in a simulated tenant?
//!
//! A user is a pure function of (seed, index, population size): nothing is stored until somebody changes it, so a million
//! users cost no memory. This module knows people and classes, no provider; how a class shows on the wire is each
//! provider's folder. What has been *changed* is in `directory.rs`.

use std::ops::Range;

use serde::{Deserialize, Serialize};

use crate::clock::{DAY, MINUTE, Millis, SECOND};

/// Occurs, in lower case, in every generated username, e-mail address, name and piece of profile data.
pub const PERSONAL_CANARY: &str = "quokka";
/// Occurs in every credential, token and secret link that a simulator hands out or accepts.
pub const SECRET_CANARY: &str = "wombat";

/// What kind of account a user is. Not every provider has every class; see [`Class::exists_at`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Class {
    /// A local password last changed 30 to 930 days before the epoch, signed in since, no mark.
    Ordinary,
    /// Changed the password 1 to 59 minutes before the epoch. Looker shows no such time: there the credential is that new.
    RecentlyChanged,
    /// Somebody had already required a change.
    AlreadyMarked,
    /// Has a password and never signed in.
    NeverSignedIn,
    /// Has a password; the provider gives no time of its last change.
    ChangeTimeUnknown,
    /// The user is disabled.
    Disabled,
    /// No local password: PingOne `NO_PASSWORD`, MonoCloud passwordless, Looker without an e-mail credential.
    NoPassword,
    /// Signs in through an external identity provider. On Looker with an e-mail credential beside it ("alternate login").
    Federated,
    /// Writes on this one user are forbidden to the caller.
    Forbidden,
    /// The write is answered with 200, yet nothing changes.
    WithoutEffect,
    /// The write takes effect, yet its 200 shows the vendor's sample: PingOne `NO_PASSWORD`, MonoCloud `false`.
    SampleAnswer,
    /// Another user's identifier resembles or equals this one's: PingOne the same e-mail address as the user before it,
    /// Looker an address that the `_` of the other one matches.
    Lookalike,
    /// PingOne: `PASSWORD_LOCKED_OUT` after failed attempts.
    LockedOut,
    /// PingOne: `PASSWORD_EXPIRED`.
    Expired,
    /// PingOne: an explicit account lock, which a forced change does not lift.
    AccountLocked,
    /// PingOne: `EXTERNAL`, the password lives behind an LDAP gateway.
    Gateway,
    /// Looker: `CredentialsEmail.is_disabled` while the user is enabled.
    CredentialDisabled,
    /// Looker: an embed user.
    Embed,
    /// Looker: a service account.
    ServiceAccount,
    /// Looker: the user whose key the API is called with. Never part of a population; the simulator adds it.
    ApiUser,
    /// MonoCloud: `block_until` lies ahead.
    Blocked,
    /// MonoCloud: `block_until` lies in the past, so the user is not blocked any more.
    BlockEnded,
    /// MonoCloud: the write is answered with 422, in the three shapes in turn.
    Refused,
}

/// Which vendor a simulator plays.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    /// PingOne.
    PingOne,
    /// Looker.
    Looker,
    /// MonoCloud.
    MonoCloud,
}

impl Class {
    const EVERYWHERE: [Class; 9] = [
        Class::Ordinary,
        Class::RecentlyChanged,
        Class::AlreadyMarked,
        Class::NeverSignedIn,
        Class::Disabled,
        Class::NoPassword,
        Class::Federated,
        Class::Forbidden,
        Class::WithoutEffect,
    ];

    /// Every class that `kind` knows, in a fixed order that begins with [`Class::Ordinary`].
    pub fn of(kind: Kind) -> Vec<Class> {
        let own: &[Class] = match kind {
            Kind::PingOne => &[
                Class::ChangeTimeUnknown,
                Class::SampleAnswer,
                Class::LockedOut,
                Class::Expired,
                Class::AccountLocked,
                Class::Gateway,
                Class::Lookalike,
            ],
            Kind::Looker => &[Class::CredentialDisabled, Class::Embed, Class::ServiceAccount, Class::Lookalike],
            Kind::MonoCloud => {
                &[Class::ChangeTimeUnknown, Class::SampleAnswer, Class::Blocked, Class::BlockEnded, Class::Refused]
            }
        };
        Self::EVERYWHERE.iter().chain(own).copied().collect()
    }

    /// Whether `kind` has accounts of this class.
    pub fn exists_at(self, kind: Kind) -> bool {
        Class::of(kind).contains(&self)
    }
}

/// How many users are of a class.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Share {
    /// Exactly this many.
    Count(u32),
    /// This many of a thousand, rounded up.
    PerMille(u32),
}

/// The mixture of classes. What is left over is [`Class::Ordinary`].
#[derive(Clone, Debug, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Mix {
    /// Everybody is [`Class::Ordinary`]: for exact counting.
    #[default]
    Ordinary,
    /// 2 % of every class that the provider has, at least one of each; the rest ordinary.
    Awkward,
    /// These classes, these shares.
    Classes(Vec<(Class, Share)>),
}

/// Description of the users of a tenant.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Population {
    /// How many users (Looker: besides the API user).
    pub users: u32,
    /// Two populations with one seed are equal, user by user.
    pub seed: u64,
    /// Which classes.
    pub mix: Mix,
}

impl Population {
    /// `users` users of [`Class::Ordinary`], seed 1.
    pub fn ordinary(users: u32) -> Population {
        Population { users, seed: 1, mix: Mix::Ordinary }
    }

    /// `users` users, every class of the provider among them, seed 1.
    pub fn awkward(users: u32) -> Population {
        Population { users, seed: 1, mix: Mix::Awkward }
    }

    /// `users` users with the given classes among them, seed 1.
    pub fn with(users: u32, classes: &[(Class, Share)]) -> Population {
        Population { users, seed: 1, mix: Mix::Classes(classes.to_vec()) }
    }
}

/// A population made ready for one provider and one epoch: answers everything about an unchanged user in constant time.
#[derive(Clone, Debug)]
pub(crate) struct People {
    pub kind: Kind,
    pub seed: u64,
    /// Users generated at the start; an index at or above is a user who was hired later, or Looker's API user.
    pub users: u32,
    pub epoch: Millis,
    /// Rank ranges by class; the ranks left over are ordinary.
    ranges: Vec<(Range<u32>, Class)>,
    stride: u64,
}

impl People {
    /// Fails with a sentence when a class does not exist at `kind` or more users are asked for than there are.
    pub fn new(population: &Population, kind: Kind, epoch: Millis) -> Result<People, String> {
        let users = population.users;
        let classes: Vec<(Class, Share)> = match &population.mix {
            Mix::Ordinary => Vec::new(),
            Mix::Awkward => Class::of(kind).into_iter().skip(1).map(|class| (class, Share::PerMille(20))).collect(),
            Mix::Classes(classes) => classes.clone(),
        };
        let mut ranges = Vec::new();
        let mut next = 0_u32;
        for (class, share) in classes {
            if !class.exists_at(kind) {
                return Err(format!("{kind:?} has no class {class:?}; it has {:?}", Class::of(kind)));
            }
            let count = match share {
                Share::Count(count) => count,
                Share::PerMille(parts) => {
                    u32::try_from((u64::from(users) * u64::from(parts)).div_ceil(1000)).unwrap_or(u32::MAX)
                }
            };
            let end = next.checked_add(count).filter(|end| *end <= users);
            let end = end.ok_or_else(|| {
                format!("{count} users of class {class:?} do not fit: only {} of {users} are left", users - next)
            })?;
            ranges.push((next..end, class));
            next = end;
        }
        Ok(People { kind, seed: population.seed, users, epoch, ranges, stride: spreading_stride(users) })
    }

    /// The class of user `index`. Classes are spread evenly by an affine permutation, which keeps their counts exact.
    pub fn class(&self, index: u32) -> Class {
        if index >= self.users {
            let api_user = self.kind == Kind::Looker && index == self.users;
            return if api_user { Class::ApiUser } else { Class::Ordinary };
        }
        if self.ranges.is_empty() {
            return Class::Ordinary;
        }
        let rank = self.rank(index);
        self.ranges.iter().find(|(range, _)| range.contains(&rank)).map_or(Class::Ordinary, |(_, class)| *class)
    }

    /// A number that differs for each of the first `users` indexes: an order that has nothing to do with ids or times.
    pub fn rank(&self, index: u32) -> u32 {
        let modulus = u64::from(self.users.max(1));
        ((u64::from(index) * self.stride + self.seed % modulus) % modulus) as u32
    }

    /// Bits that depend on seed, user and `purpose` only.
    pub fn bits(&self, index: u32, purpose: u64) -> u64 {
        mix(self.seed ^ mix(u64::from(index) ^ purpose.rotate_left(32)))
    }

    /// Creation time: rises with the index, whole seconds, three neighbours share one value (ties in a sort order).
    pub fn created_at(&self, index: u32) -> Millis {
        let steps = u64::from(self.users / 3 + 1);
        let step_seconds = (200 * 86_400 / steps).max(1) as i64;
        let epoch = self.epoch - self.epoch.rem_euclid(SECOND);
        epoch - 1_200 * DAY + i64::from(index / 3) * step_seconds * SECOND
    }

    /// When an ordinary user last changed the password.
    pub fn old_change(&self, index: u32) -> Millis {
        let bits = self.bits(index, 1);
        self.epoch - (30 + (bits % 900) as i64) * DAY - ((bits >> 32) % 86_400_000) as i64
    }

    /// When a user of [`Class::RecentlyChanged`] did.
    pub fn recent_change(&self, index: u32) -> Millis {
        self.epoch - (1 + (self.bits(index, 2) % 58) as i64) * MINUTE - 1
    }

    /// When an ordinary user last signed in: after the last change, before the epoch.
    pub fn old_sign_in(&self, index: u32) -> Millis {
        self.epoch - (1 + (self.bits(index, 3) % 28) as i64) * DAY
    }

    /// The username, for example `quokka-12`.
    pub fn username(&self, index: u32) -> String {
        format!("{PERSONAL_CANARY}-{index}")
    }

    /// The given name.
    pub fn given(&self, index: u32) -> &'static str {
        const NAMES: [&str; 8] = ["ada", "bjarne", "chi", "dana", "emil", "fumiko", "grace", "hedy"];
        NAMES[(self.bits(index, 4) % NAMES.len() as u64) as usize]
    }

    /// The family name, for example `quokka-12`.
    pub fn family(&self, index: u32) -> String {
        self.username(index)
    }

    /// The e-mail address. It holds an `_`; every seventh has capitals; a lookalike's is made from the user before it.
    pub fn email(&self, index: u32) -> String {
        match (self.class(index), index.checked_sub(1), self.kind) {
            (Class::Lookalike, Some(other), Kind::Looker) => self.plain_email(other).replacen('_', "x", 1),
            (Class::Lookalike, Some(other), Kind::PingOne) => self.plain_email(other),
            _ => self.plain_email(index),
        }
    }

    fn plain_email(&self, index: u32) -> String {
        let address = format!("{}_{PERSONAL_CANARY}-{index}@people.example", self.given(index));
        if index % 7 == 3 { format!("{}{}", address[..1].to_uppercase(), &address[1..]) } else { address }
    }

    /// The users whose username or e-mail address could be `text`, wildcards in place of single characters included: look at each
    /// one's real value. `None` when the text holds no index, so that everybody has to be looked at.
    pub fn candidates(&self, text: &str) -> Option<Vec<u32>> {
        let text = text.to_lowercase();
        let digits = text.split_once(&format!("{PERSONAL_CANARY}-"))?.1;
        let digits = &digits[..digits.find(|c: char| !c.is_ascii_digit()).unwrap_or(digits.len())];
        let index: u32 = digits.parse().ok()?;
        Some([Some(index), index.checked_add(1)].into_iter().flatten().collect())
    }
}

/// SplitMix64's finaliser: a bijection whose output bits all depend on all input bits.
pub(crate) fn mix(value: u64) -> u64 {
    let mut z = value.wrapping_add(0x9e37_79b9_7f4a_7c15);
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

/// The inverse, modulo `modulus`, of a step near its golden section. Ranks in a row then lie about 0.618 of the whole apart, so
/// that a range of ranks is spread evenly over the indexes.
fn spreading_stride(modulus: u32) -> u64 {
    let modulus = i64::from(modulus.max(1));
    let step = (modulus * 618_034 / 1_000_000).max(1);
    (step..).find_map(|step| inverse(step, modulus)).map_or(1, i64::unsigned_abs)
}

/// Extended Euclid; `None` when `value` and `modulus` have a common factor.
fn inverse(value: i64, modulus: i64) -> Option<i64> {
    let (mut old, mut new) = ((modulus, 0), (value, 1));
    while new.0 != 0 {
        let quotient = old.0 / new.0;
        (old, new) = (new, (old.0 - quotient * new.0, old.1 - quotient * new.1));
    }
    (old.0 == 1).then(|| old.1.rem_euclid(modulus))
}

#[cfg(test)]
mod tests {
    use std::collections::{BTreeMap, HashSet};

    use super::*;

    fn people(population: &Population, kind: Kind) -> People {
        People::new(population, kind, 1_760_000_000_000).expect("a population that fits")
    }

    #[test]
    fn classes_have_exactly_the_counts_asked_for_and_are_spread() {
        let population =
            Population::with(1_000, &[(Class::Disabled, Share::Count(7)), (Class::Expired, Share::PerMille(30))]);
        let people = people(&population, Kind::PingOne);
        let mut found: BTreeMap<Class, Vec<u32>> = BTreeMap::new();
        (0..1_000).for_each(|index| found.entry(people.class(index)).or_default().push(index));
        assert_eq!(found[&Class::Disabled].len(), 7);
        assert_eq!(found[&Class::Expired].len(), 30);
        assert_eq!(found[&Class::Ordinary].len(), 963);
        let expired = &found[&Class::Expired];
        assert!(expired[0] < 200 && expired[29] > 800, "spread over the index: {expired:?}");
    }

    #[test]
    fn an_awkward_population_has_every_class_of_its_provider() {
        for kind in [Kind::PingOne, Kind::Looker, Kind::MonoCloud] {
            let people = people(&Population::awkward(60), kind);
            let found: HashSet<Class> = (0..60).map(|index| people.class(index)).collect();
            assert_eq!(found, Class::of(kind).into_iter().collect(), "{kind:?}");
        }
    }

    #[test]
    fn a_class_of_another_provider_is_refused_with_a_sentence() {
        let population = Population::with(10, &[(Class::Embed, Share::Count(1))]);
        let error = People::new(&population, Kind::MonoCloud, 0).expect_err("MonoCloud has no embed users");
        assert!(error.contains("MonoCloud has no class Embed"), "{error}");
    }

    #[test]
    fn more_users_than_there_are_is_refused_with_a_sentence() {
        let population = Population::with(10, &[(Class::Disabled, Share::Count(11))]);
        assert!(People::new(&population, Kind::Looker, 0).expect_err("11 of 10").contains("do not fit"));
    }

    #[test]
    fn every_identifier_names_its_user_and_carries_the_canary() {
        for kind in [Kind::PingOne, Kind::Looker, Kind::MonoCloud] {
            let people = people(&Population::awkward(100), kind);
            for index in 0..100 {
                for text in [people.username(index), people.email(index)] {
                    assert!(text.contains(PERSONAL_CANARY));
                    assert!(people.candidates(&text).expect("an index").contains(&index), "{text} of {index}");
                }
            }
        }
    }

    #[test]
    fn some_addresses_have_capitals_so_that_comparing_exactly_goes_wrong() {
        let people = people(&Population::ordinary(14), Kind::MonoCloud);
        let capitals = (0..14).filter(|index| people.email(*index) != people.email(*index).to_lowercase()).count();
        assert_eq!(capitals, 2);
    }

    #[test]
    fn an_ordinary_user_was_created_then_changed_the_password_then_signed_in() {
        let people = people(&Population::ordinary(1_000), Kind::PingOne);
        for index in 0..1_000 {
            assert!(people.created_at(index) < people.old_change(index));
            assert!(people.old_change(index) < people.old_sign_in(index));
            assert!(people.old_sign_in(index) < people.epoch);
        }
    }

    #[test]
    fn creation_times_rise_with_ties() {
        let people = people(&Population::ordinary(1_000), Kind::MonoCloud);
        assert_eq!(people.created_at(3), people.created_at(5));
        assert!(people.created_at(5) < people.created_at(6));
    }
}
