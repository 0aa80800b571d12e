//! How much may be spent on repeats?
//!
//! Every request that fails is sent again by somebody: a page is listed again, an account is read again. So each failure
//! draws from a budget of the tenant, to which every request adds a fifth. As long as it holds, repeats cost at most that
//! share; when it is empty, whoever fails goes slowly (see [`super::lanes`]), while others, whose calls succeed, go on.

/// What each request adds.
const SHARE: f64 = 0.2;
/// What the budget holds at most, and at the beginning.
const RESERVE: f64 = 10.0;

/// What is left for repeats.
#[derive(Debug)]
pub(super) struct Budget {
    left: f64,
}

impl Default for Budget {
    fn default() -> Self {
        Self { left: RESERVE }
    }
}

impl Budget {
    /// A request is sent.
    pub(super) fn earn(&mut self) {
        self.left = (self.left + SHARE).min(RESERVE);
    }

    /// A request has failed. Whether its repeat is covered.
    pub(super) fn draw(&mut self) -> bool {
        let covered = self.left >= 1.0;
        if covered {
            self.left -= 1.0;
        }
        covered
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reserve_and_a_fifth_of_all_requests_may_be_repeated() {
        let mut budget = Budget::default();
        let mut covered = 0;
        for _ in 0..1000 {
            budget.earn();
            covered += u32::from(budget.draw());
        }
        assert!((200..=210).contains(&covered), "{covered}");
    }

    #[test]
    fn few_failures_are_always_covered_and_a_rest_is_not_saved_up() {
        let mut budget = Budget::default();
        for i in 0..1000 {
            budget.earn();
            assert!(i % 6 != 0 || budget.draw(), "one in six");
        }
        let in_a_row = (0..100).take_while(|_| budget.draw()).count();
        assert!(in_a_row <= 10, "{in_a_row}");
    }
}
