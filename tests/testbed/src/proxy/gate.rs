//! A gate that can be closed and opened while others wait at it.

use tokio::sync::watch;

/// Whoever comes while it is closed waits until it is open. Clones are the same gate.
#[derive(Debug, Clone)]
pub struct Gate(watch::Sender<bool>);

impl Default for Gate {
    /// An open gate.
    fn default() -> Self {
        Self(watch::Sender::new(true))
    }
}

impl Gate {
    /// A gate that is closed at first.
    pub fn closed() -> Self {
        Self(watch::Sender::new(false))
    }

    /// From now on callers wait.
    pub fn close(&self) {
        self.0.send_replace(false);
    }

    /// Lets everybody through.
    pub fn open(&self) {
        self.0.send_replace(true);
    }

    /// Whether it is open.
    pub fn is_open(&self) -> bool {
        *self.0.borrow()
    }

    /// Returns when it is open.
    pub async fn passed(&self) {
        let mut open = self.0.subscribe();
        // The sender lives as long as `self`.
        let _ = open.wait_for(|open| *open).await;
    }

    /// The same, without borrowing the gate.
    pub(super) async fn into_passed(self) {
        self.passed().await;
    }
}
