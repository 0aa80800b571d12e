//! `/metrics`, `/livez` and `/readyz`.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use axum::http::{StatusCode, header};
use axum::routing::get;
use axum::{Router, response::IntoResponse};

use super::metrics::Metrics;

/// Whether the process is ready: its watches have seen the API server once.
#[derive(Clone, Debug, Default)]
pub struct Readiness(Arc<AtomicBool>);

impl Readiness {
    /// Says that the first lists have come in. Returns whether that is news.
    pub fn ready(&self) -> bool {
        !self.0.swap(true, Ordering::AcqRel)
    }

    fn answer(&self) -> (StatusCode, &'static str) {
        if self.0.load(Ordering::Acquire) {
            (StatusCode::OK, "ok")
        } else {
            (StatusCode::SERVICE_UNAVAILABLE, "waiting for the first lists of the API server")
        }
    }
}

/// The routes. `alive` is asked for each `/livez`: `Err` says why the process has to be started again.
pub fn router(
    metrics: Arc<Metrics>,
    readiness: Readiness,
    alive: impl Fn() -> Result<(), String> + Clone + Send + Sync + 'static,
) -> Router {
    const OPEN_METRICS: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";
    Router::new()
        .route(
            "/livez",
            get(|| async move {
                match alive() {
                    Ok(()) => (StatusCode::OK, "ok".to_owned()),
                    Err(why) => (StatusCode::SERVICE_UNAVAILABLE, why),
                }
            }),
        )
        .route("/readyz", get(move || async move { readiness.answer() }))
        .route(
            "/metrics",
            get(|| async move { ([(header::CONTENT_TYPE, OPEN_METRICS)], metrics.text()).into_response() }),
        )
}
