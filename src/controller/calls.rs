//! How are calls to the API server bounded, and which of them may be sent at all?
//!
//! Every client of a controller goes through [`bounded`]: no call may take for ever, since the API server may be behind
//! a connection that is dead without saying so, and nothing is written by a process that is not the leader. It is asked
//! here, once for ledgers, status, events and whatever comes later, so that no writer can forget it.

use std::time::Duration;

use http::{Method, Request, Response};
use kube::Client;
use kube::client::Body;
use tower::{BoxError, service_fn};

use super::leader::Leadership;
use super::pulse::Pulse;

/// Why a call was not made, or was given up.
#[derive(Debug, thiserror::Error)]
enum CallError {
    /// Another process may be the leader by now.
    #[error("nothing is written: this process does not hold the lease")]
    NotLeader,
    /// The deadline passed.
    #[error("the API server has not answered within {} s", .0.as_secs())]
    Deadline(Duration),
}

/// A client over `inner` whose calls are answered within `deadline`, or fail, and that writes only while `leadership`
/// holds. Of a watch only the beginning has a deadline; how long it may be silent is the watcher's business.
pub fn bounded(inner: &Client, deadline: Duration, leadership: &Leadership) -> Client {
    let (namespace, inner, leadership) = (inner.default_namespace().to_owned(), inner.clone(), leadership.clone());
    let service = service_fn(move |request: Request<Body>| {
        let may_be_sent = matches!(*request.method(), Method::GET | Method::HEAD) || leadership.holds();
        let (inner, watches) = (inner.clone(), is_watch(&request));
        async move {
            if !may_be_sent {
                return Err(CallError::NotLeader.into());
            }
            let answered = async {
                let response = inner.send(request).await?;
                if watches {
                    return Ok(response);
                }
                let (parts, body) = response.into_parts();
                Ok::<_, BoxError>(Response::from_parts(parts, Body::from(body.collect_bytes().await?)))
            };
            tokio::time::timeout(deadline, answered).await.map_err(|_| CallError::Deadline(deadline))?
        }
    });
    Client::new(service, namespace)
}

/// A client over `inner` for one watch, whose answers are noted in `pulse`.
pub fn noted(inner: &Client, pulse: &Pulse) -> Client {
    let (namespace, inner, pulse) = (inner.default_namespace().to_owned(), inner.clone(), pulse.clone());
    let service = service_fn(move |request: Request<Body>| {
        let (inner, pulse) = (inner.clone(), pulse.clone());
        async move {
            let response = inner.send(request).await?;
            if is_answer(&response) {
                pulse.beat();
            }
            Ok::<_, kube::Error>(response)
        }
    });
    Client::new(service, namespace)
}

fn is_watch(request: &Request<Body>) -> bool {
    request.uri().query().is_some_and(|query| query.split('&').any(|pair| matches!(pair, "watch=1" | "watch=true")))
}

/// Whether the API server has dealt with the request: a refusal counts, since a restart would not change it, and "come
/// back later" does not.
fn is_answer<B>(response: &Response<B>) -> bool {
    let status = response.status();
    !status.is_server_error() && status != 429 && status != 401
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_watch_is_told_from_a_list() {
        for (uri, expected) in [
            ("/apis/x/v1/things?watch=true&timeoutSeconds=45", true),
            ("/apis/x/v1/things?&limit=200&watch=1", true),
            ("/apis/x/v1/things?limit=200", false),
            ("/apis/x/v1/things?labelSelector=watch%3Dtrue", false),
            ("/api/v1/watch", false),
        ] {
            let request = Request::get(uri).body(Body::empty()).unwrap();
            assert_eq!(is_watch(&request), expected, "{uri}");
        }
    }

    #[test]
    fn a_refusal_is_an_answer_and_being_put_off_is_none() {
        for (status, expected) in
            [(200, true), (403, true), (404, true), (410, true), (401, false), (429, false), (500, false), (503, false)]
        {
            let response = Response::builder().status(status).body(()).unwrap();
            assert_eq!(is_answer(&response), expected, "{status}");
        }
    }
}
