//! The contract of `store::Backend`, the same over every implementation, and what each of them promises beyond it.
//!
//! Redis is a real `redis-server` that the test starts and that dies with it.
#![allow(clippy::unwrap_used)]

#[path = "../support/redis.rs"]
mod redis_server;

mod contract;
mod embedded;
mod handed_over;
mod redis_access;
mod redis_amnesia;
mod redis_calls;
mod redis_cluster;
mod redis_copies;
mod redis_faults;
mod redis_feed;
mod redis_rollback;
mod redis_sentinel;
mod redis_settings;
mod support;

/// Every case of the contract over every backend.
macro_rules! over_every_backend {
    ($($case:ident),* $(,)?) => {
        over_every_backend!(@backend memory, $($case),*);
        over_every_backend!(@backend embedded, $($case),*);
        over_every_backend!(@backend handed_over, $($case),*);
        over_every_backend!(@backend redis, $($case),*);
        over_every_backend!(@backend redis_with_copies, $($case),*);
        over_every_backend!(@backend redis_cluster, $($case),*);
    };
    (@backend $backend:ident, $($case:ident),*) => {
        mod $backend {
            $(
                #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
                async fn $case() {
                    crate::contract::$case(crate::support::Rig::$backend().await).await
                }
            )*
        }
    };
}

mod over {
    over_every_backend![
        a_session_is_read_as_it_was_committed,
        a_commit_needs_the_exact_record,
        a_conflict_changes_nothing,
        two_hundred_rotations_at_once_make_one_successor,
        a_ticket_is_given_out_once,
        a_logout_between_read_and_write_wins,
        nothing_overwrites_ended,
        an_ended_session_can_be_committed_again_as_it_is,
        a_living_session_can_be_committed_as_it_is,
        what_is_not_there_is_known_to_be_absent,
        reading_that_a_session_has_ended_lists_it,
        a_subject_s_living_sessions_are_listed,
        a_change_is_decided_on_what_is_there,
        everybody_s_sessions_are_on_the_pages,
        subjects_are_not_mistaken_for_one_another,
        expired_sessions_disappear,
        a_logout_is_listed_by_every_proxy,
        the_mirror_is_fresh_and_stays_fresh,
        a_commit_whose_caller_is_gone_is_whole_or_not_at_all,
    ];
}
