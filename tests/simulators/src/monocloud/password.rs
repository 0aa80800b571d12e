//! Requiring a change of password, and taking it back.
//!
//! Undocumented, and chosen here: users without a password get 422 as an identity error, users of an external provider 422 as a
//! validation error; disabled and blocked users can be required; both calls are idempotent.

use crate::call::{Answer, Call};
use crate::ledger::Effect;
use crate::monocloud::{CONTENT_TYPE, forbidden, problem, user};
use crate::population::Class;
use crate::world::{World, marking};

/// `POST …/password/force_reset`, without a body.
pub(crate) fn force(world: &mut World, call: &Call, index: u32) -> Answer {
    if forbidden(world, index, call.parameter("user")) {
        return problem::of_status(403);
    }
    if !call.body.is_empty() {
        return problem::of_status(400);
    }
    let class = world.directory.class(index);
    match class {
        Class::NoPassword => return problem::identity_validation("PasswordNotSet", "The user has no password."),
        Class::Federated => return problem::validation("user_id", "The user signs in through an external provider."),
        Class::Refused => return refused(index),
        _ => {}
    }
    let effective = class != Class::WithoutEffect;
    let (before, after) = world.directory.change(index, true, |state| state.marked |= effective);
    let effect = if effective { marking(before) } else { Effect::WithoutEffect };
    world.record(call, Some(index), effect, Some((before, after)), 200);
    let mut body = user::body(world, index, after);
    if class == Class::SampleAnswer {
        // The documentation's own example of a success shows `false`.
        body["force_password_reset"] = false.into();
    }
    Answer::json(200, CONTENT_TYPE, &body)
}

fn refused(index: u32) -> Answer {
    match index % 3 {
        0 => problem::identity_validation("OperationNotAllowed", "The password of this user cannot be reset."),
        1 => problem::validation("user_id", "The password of this user cannot be reset."),
        _ => problem::unprocessable(),
    }
}

/// `DELETE …/password/force_reset`.
pub(crate) fn clear(world: &mut World, call: &Call, index: u32) -> Answer {
    if forbidden(world, index, call.parameter("user")) {
        return problem::of_status(403);
    }
    let (before, after) = world.directory.change(index, true, |state| state.marked = false);
    world.record(call, Some(index), Effect::Unmarked, Some((before, after)), 200);
    Answer::json(200, CONTENT_TYPE, &user::body(world, index, after))
}
