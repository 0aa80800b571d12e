//! When is a batch sent, and what do the refusals of its writes say about the tenant?

use std::time::Duration;

use super::capabilities::Capabilities;
use super::decide::FRESH;

/// Left of [`FRESH`] for the last of a batch when sending begins.
const MARGIN: Duration = Duration::from_secs(5);

/// Refused writes in a row that are the tenant's refusal rather than the accounts'.
pub const TENANT_REFUSAL: usize = 5;

/// The same for writes that are found invalid, which says more about the account, and where the tenant has accepted a write
/// not long ago.
const TENANT_REJECTION: usize = 20;

/// Accounts that are due and not written to yet.
#[derive(Clone, Copy, Debug)]
pub struct Gathered {
    /// How many.
    pub accounts: usize,
    /// The age of the oldest row among them.
    pub oldest: Duration,
}

/// Whether what is gathered has to be sent now: it is a full batch, or at `pace` calls a second its oldest row would be too
/// old for the last of its writes.
pub fn must_send(gathered: Gathered, capabilities: &Capabilities, pace: f64) -> bool {
    if gathered.accounts == 0 || gathered.accounts >= capabilities.batch {
        return gathered.accounts > 0;
    }
    let calls = gathered.accounts as f64 * f64::from(capabilities.calls_per_write);
    gathered.oldest + Duration::from_secs_f64((calls / pace).min(3600.0)) + MARGIN >= FRESH
}

/// Writes of one pass that were refused, of accounts that had not been refused before: what is known is no news.
#[derive(Clone, Copy, Debug, Default)]
pub struct Refusals {
    /// Because they are forbidden.
    pub forbidden: usize,
    /// Because they are invalid.
    pub rejected: usize,
}

/// What a tenant refuses as a whole.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TenantRefuses {
    /// It forbids every write.
    Right,
    /// It finds every write invalid.
    Form,
}

/// What refusals in a row, with no write accepted in between, say about the tenant. `has_accepted`: whether it has accepted
/// a write not long ago.
pub fn tenant_refuses(refusals: Refusals, has_accepted: bool) -> Option<TenantRefuses> {
    let Refusals { forbidden, rejected } = refusals;
    if forbidden >= if has_accepted { TENANT_REJECTION } else { TENANT_REFUSAL } {
        return Some(TenantRefuses::Right);
    }
    (forbidden + rejected >= TENANT_REJECTION && !has_accepted).then_some(TenantRefuses::Form)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::capabilities::SAMPLE;

    fn gathered(accounts: usize, oldest: u64) -> Gathered {
        Gathered { accounts, oldest: Duration::from_secs(oldest) }
    }

    #[test]
    fn a_full_batch_is_sent_and_nobody_is_no_batch() {
        assert!(must_send(gathered(SAMPLE.batch, 0), &SAMPLE, 1000.0));
        assert!(!must_send(gathered(SAMPLE.batch - 1, 0), &SAMPLE, 1000.0));
        assert!(!must_send(gathered(0, 100), &SAMPLE, 1000.0));
    }

    #[test]
    fn a_batch_is_sent_before_its_oldest_row_would_be_too_old_for_the_last_write() {
        let capabilities = Capabilities { calls_per_write: 2, ..SAMPLE };
        // Ten accounts, two calls each, at one call a second take 20 s; 5 s are left.
        assert!(!must_send(gathered(10, 4), &capabilities, 1.0));
        assert!(must_send(gathered(10, 5), &capabilities, 1.0));
        assert!(!must_send(gathered(10, 5), &capabilities, 2.0));
        assert!(must_send(gathered(1, 0), &capabilities, 0.0), "a pace of nothing takes for ever");
    }

    #[test]
    fn five_forbidden_writes_are_the_tenants_and_twenty_where_it_accepts_others() {
        let forbidden = |forbidden| Refusals { forbidden, rejected: 0 };
        assert_eq!(tenant_refuses(forbidden(4), false), None);
        assert_eq!(tenant_refuses(forbidden(5), false), Some(TenantRefuses::Right));
        assert_eq!(tenant_refuses(forbidden(19), true), None);
        assert_eq!(tenant_refuses(forbidden(20), true), Some(TenantRefuses::Right));
    }

    #[test]
    fn twenty_invalid_writes_are_the_tenants_unless_it_accepts_others() {
        let rejected = |rejected| Refusals { forbidden: 1, rejected };
        assert_eq!(tenant_refuses(rejected(18), false), None);
        assert_eq!(tenant_refuses(rejected(19), false), Some(TenantRefuses::Form));
        assert_eq!(tenant_refuses(rejected(100), true), None);
    }
}
