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
    /// Says that the first lists have come in.
    pub fn ready(&self) {
        self.0.store(true, Ordering::Release);
    }

    fn answer(&self) -> (StatusCode, &'static str) {
        if self.0.load(Ordering::Acquire) {
            (StatusCode::OK, "ok")
        } else {
            (StatusCode::SERVICE_UNAVAILABLE, "waiting for the first lists of the API server")
        }
    }
}

/// The routes.
pub fn router(metrics: Arc<Metrics>, readiness: Readiness) -> Router {
    const OPEN_METRICS: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";
    Router::new()
        .route("/livez", get(|| async { "ok" }))
        .route("/readyz", get(move || async move { readiness.answer() }))
        .route(
            "/metrics",
            get(|| async move { ([(header::CONTENT_TYPE, OPEN_METRICS)], metrics.text()).into_response() }),
        )
}
