//! Rotation under any interleaving of tabs, thieves, proxies and lost replies, over a store that can only compare and swap.
//!
//! Invariant 3: a session has at most one live successor. Invariant 4: a client that presents the newest token it received,
//! within half the grace of any other tab, is never logged out.

use std::collections::HashMap;
use std::time::Duration;

use proptest::prelude::*;

use super::{GRACE, START, fresh};
use crate::session::{Attempt, ClientMark, EndReason, KeyId, LateRetry, Outcome, RotationPolicy, Session, rotate};
use crate::time::Timestamp;

/// Proxies: while keys are being rotated they do not agree on the newest.
const PROXIES: [&str; 3] = ["key 1", "key 1", "key 2"];
const CLIENTS: usize = 2;
/// The client that is not the thief.
const OWNER: usize = 0;

/// One thing that happens. Indices are taken modulo what there is.
#[derive(Clone, Copy, Debug)]
enum Event {
    /// A client sends the newest token it has to a proxy.
    Present {
        client: usize,
        proxy: usize,
    },
    /// A request that is under way takes its next step: read the record, or commit and answer.
    Step(usize),
    /// The client receives an answer.
    Deliver(usize),
    /// A request or an answer is lost.
    Lose(usize),
    /// A proxy meets an access token of the newest generation that the client holds.
    Use {
        client: usize,
    },
    /// A client gets hold of what another one has.
    Steal,
    /// Somebody logs out.
    LogOut,
    Wait(Duration),
}

/// A request under way.
struct Request {
    client: usize,
    proxy: usize,
    generation: u32,
    state: State,
}

enum State {
    Sent,
    Read(Session),
    /// The generation that the answer carries.
    Answered(u32),
}

struct World {
    record: Session,
    now: Timestamp,
    policy: RotationPolicy,
    /// The newest generation that each client has received.
    held: [u32; CLIENTS],
    under_way: Vec<Request>,
    /// The key that the token of a generation was made with: the token is a pure function of both.
    minted: HashMap<u32, KeyId>,
}

impl World {
    fn new(late_retry: LateRetry) -> World {
        let record = fresh();
        World {
            minted: HashMap::from([(0, record.mac_key.clone())]),
            record,
            now: START,
            policy: RotationPolicy { grace: GRACE, late_retry },
            held: [0; CLIENTS],
            under_way: Vec::new(),
        }
    }

    fn happen(&mut self, event: Event) {
        let count = self.under_way.len();
        match event {
            Event::Present { client, proxy } => {
                let (client, proxy) = (client % CLIENTS, proxy % PROXIES.len());
                let generation = self.held[client];
                self.under_way.push(Request { client, proxy, generation, state: State::Sent });
            }
            Event::Step(which) if count > 0 => self.step(which % count),
            Event::Deliver(which) if count > 0 => {
                if let State::Answered(generation) = self.under_way[which % count].state {
                    let request = self.under_way.swap_remove(which % count);
                    self.held[request.client] = self.held[request.client].max(generation);
                }
            }
            Event::Lose(which) if count > 0 => drop(self.under_way.swap_remove(which % count)),
            Event::Step(_) | Event::Deliver(_) | Event::Lose(_) => {}
            Event::Use { client } => {
                if self.record.ended.is_none() && self.record.generation == self.held[client % CLIENTS] {
                    self.commit(Session { used: true, ..self.record.clone() });
                }
            }
            Event::Steal => self.held = [self.held[OWNER]; CLIENTS],
            Event::LogOut => self.commit(self.record.end(self.now, EndReason::Logout)),
            Event::Wait(duration) => self.now = self.now.plus(duration),
        }
    }

    fn step(&mut self, which: usize) {
        let request = &self.under_way[which];
        match &request.state {
            State::Sent => self.under_way[which].state = State::Read(self.record.clone()),
            State::Answered(_) => {}
            State::Read(read) => {
                let read = read.clone();
                let key = KeyId::from(PROXIES[request.proxy]);
                let attempt = Attempt {
                    generation: request.generation,
                    now: self.now,
                    mark_of_record_key: mark(request.client),
                    mark_of_active_key: mark(request.client),
                    mark_of_presented_key: mark(request.client),
                    active_mac_key: &key,
                    presented_mac_key: &self.minted[&request.generation],
                    known_ended: false,
                };
                let outcome = rotate(Some(&read), &attempt, &self.policy);
                let (write, answer) = match outcome {
                    Outcome::Kept { write } => (write, Some((read.generation, read.mac_key.clone()))),
                    Outcome::Rotated { write } => {
                        let token = (write.generation, write.mac_key.clone());
                        (Some(write), Some(token))
                    }
                    Outcome::Retried { write, .. } => (write, Some((read.generation, read.mac_key.clone()))),
                    Outcome::Reused { write } => (Some(write), None),
                    Outcome::Refused(_) => (None, None),
                };
                if let Some(write) = write {
                    if self.record != read {
                        // A lost race: read again, decide again.
                        self.under_way[which].state = State::Sent;
                        return;
                    }
                    self.commit(write);
                }
                match answer {
                    None => drop(self.under_way.swap_remove(which)),
                    Some((generation, key)) => {
                        let made_with = self.minted.entry(generation).or_insert_with(|| key.clone());
                        assert_eq!(*made_with, key, "two successors, of generation {generation}");
                        self.under_way[which].state = State::Answered(generation);
                    }
                }
            }
        }
    }

    /// A client refreshes, and nothing comes in between.
    fn refresh_at(&mut self, client: usize, proxy: usize) {
        self.happen(Event::Present { client, proxy });
        let last = self.under_way.len() - 1;
        (0..2).for_each(|_| self.happen(Event::Step(last)));
        self.happen(Event::Deliver(last));
    }

    fn commit(&mut self, next: Session) {
        let before = &self.record;
        assert!(before.ended.is_none() || next.ended == before.ended, "risen from the dead: {before:?} {next:?}");
        let made = *self.minted.keys().max().expect("there is one from the beginning");
        assert!((before.generation..=made + 1).contains(&next.generation), "{before:?} {next:?}");
        assert_eq!((next.ends_at, &next.subject), (before.ends_at, &before.subject));
        self.record = next;
    }
}

fn mark(client: usize) -> ClientMark {
    ClientMark([client as u8; 16])
}

fn any_event() -> impl Strategy<Value = Event> {
    let index = 0_usize..8;
    prop_oneof![
        4 => (0..CLIENTS, 0..PROXIES.len()).prop_map(|(client, proxy)| Event::Present { client, proxy }),
        12 => index.clone().prop_map(Event::Step),
        4 => index.clone().prop_map(Event::Deliver),
        1 => index.prop_map(Event::Lose),
        2 => (0..CLIENTS).prop_map(|client| Event::Use { client }),
        1 => Just(Event::Steal),
        // Rarely: it ends the story.
        1 => (0_u8..20).prop_map(|chance| if chance == 0 { Event::LogOut } else { Event::Wait(GRACE / 5) }),
        2 => prop_oneof![Just(GRACE / 3), Just(GRACE), Just(100 * GRACE)].prop_map(Event::Wait),
    ]
}

fn any_late_retry() -> impl Strategy<Value = LateRetry> {
    prop_oneof![Just(LateRetry::SameClient), Just(LateRetry::Any), Just(LateRetry::Off)]
}

/// What the tabs of one browser do in less than half a grace, and how long they are silent after that.
#[derive(Clone, Debug)]
struct Burst {
    events: Vec<Event>,
    silence: Duration,
}

fn burst() -> impl Strategy<Value = Burst> {
    let index = 0_usize..8;
    let event = prop_oneof![
        4 => (0..PROXIES.len()).prop_map(|proxy| Event::Present { client: OWNER, proxy }),
        12 => index.clone().prop_map(Event::Step),
        3 => index.clone().prop_map(Event::Deliver),
        2 => index.prop_map(Event::Lose),
        2 => Just(Event::Use { client: OWNER }),
    ];
    let silence = prop_oneof![Just(GRACE), Just(2 * GRACE), Just(120 * GRACE)];
    (proptest::collection::vec(event, 1..60), silence).prop_map(|(events, silence)| Burst { events, silence })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn a_session_has_one_live_successor_whatever_happens(
        events in proptest::collection::vec(any_event(), 1..150), late_retry in any_late_retry(),
    ) {
        let mut world = World::new(late_retry);
        events.into_iter().for_each(|event| world.happen(event));
    }

    #[test]
    fn the_holder_of_the_newest_token_is_never_logged_out(bursts in proptest::collection::vec(burst(), 1..8)) {
        let mut world = World::new(LateRetry::SameClient);
        for Burst { events, silence } in bursts {
            let pace = (GRACE / 2) / (events.len() as u32 + 1);
            for event in events {
                world.happen(event);
                world.happen(Event::Wait(pace));
                prop_assert!(world.record.ended.is_none(), "logged out: {:?}", world.record);
            }
            // Who was still waiting for an answer has given up; some answers arrive just before that.
            while !world.under_way.is_empty() {
                world.happen(Event::Deliver(0));
                world.happen(Event::Lose(0));
            }
            world.happen(Event::Wait(silence));
        }
        // And the newest token still works.
        world.happen(Event::Present { client: OWNER, proxy: 0 });
        let last = world.under_way.len() - 1;
        world.happen(Event::Step(last));
        world.happen(Event::Step(last));
        prop_assert!(matches!(world.under_way[last].state, State::Answered(_)));
    }

    /// The first reply is lost; two more tabs sent the same old token, half a grace apart at most, and the first of them
    /// uses what it gets before the last one is heard. On whichever side of the grace's end they fall, nobody is a thief.
    #[test]
    fn tabs_around_the_end_of_a_grace_are_no_thieves(second_ms in 0..GRACE.as_millis() as u64, gap_ms in 0..GRACE.as_millis() as u64 / 2) {
        let mut world = World::new(LateRetry::SameClient);
        for _ in 0..3 {
            world.happen(Event::Present { client: OWNER, proxy: 0 });
        }
        let hear = |world: &mut World, which: usize| (0..2).for_each(|_| world.happen(Event::Step(which)));
        hear(&mut world, 0);
        world.happen(Event::Wait(Duration::from_millis(second_ms)));
        hear(&mut world, 1);
        world.happen(Event::Deliver(1));
        world.happen(Event::Use { client: OWNER });
        world.happen(Event::Wait(Duration::from_millis(gap_ms)));
        // `Deliver` has put the last request into the place of the second.
        hear(&mut world, 1);
        prop_assert!(world.record.ended.is_none(), "logged out: {:?}", world.record);
        prop_assert!(matches!(world.under_way[1].state, State::Answered(1)));
    }

    /// The store loses rotations in a failover, and the tabs of a browser go on with what each of them has: one knows the last
    /// rotation, one that before it. Whichever comes first, and whatever key it is served with, each gets the newest token
    /// byte for byte, and nobody is a thief.
    #[test]
    fn tabs_after_lost_rotations_are_no_thieves(
        lost in 1_u32..4, behind_in_odd_turns in any::<bool>(), proxies in proptest::collection::vec(0..PROXIES.len(), 6),
        gaps_ms in proptest::collection::vec(0..GRACE.as_millis() as u64 / 12, 6),
    ) {
        let mut world = World::new(LateRetry::SameClient);
        let before = world.record.clone();
        for rotation in 0..lost {
            world.refresh_at(OWNER, rotation as usize % PROXIES.len());
            world.happen(Event::Wait(GRACE));
        }
        let newest = world.held[OWNER];
        world.record = before;
        // The first of all is the one with the newest token: of another one nobody could know that it is behind.
        for (turn, (proxy, gap_ms)) in proxies.into_iter().zip(gaps_ms).enumerate() {
            let behind = turn > 0 && (turn % 2 == 1) == behind_in_odd_turns;
            let generation = if behind { newest - 1 } else { newest };
            world.held[OWNER] = generation;
            world.refresh_at(OWNER, proxy);
            prop_assert!(world.record.ended.is_none(), "logged out: {:?}", world.record);
            prop_assert_eq!((world.held[OWNER], world.record.generation), (newest, newest));
            prop_assert_eq!(&world.record.mac_key, &world.minted[&newest]);
            world.happen(Event::Wait(Duration::from_millis(gap_ms)));
        }
    }

    /// However patient a thief is: once both have come back, one of them is found out.
    #[test]
    fn a_stolen_token_is_noticed_when_both_go_on_using_it(owner_first in any::<bool>(), rounds in 1_u32..5) {
        let mut world = World::new(LateRetry::SameClient);
        let refresh = |world: &mut World, client: usize| {
            world.happen(Event::Present { client, proxy: 0 });
            for _ in 0..2 { world.happen(Event::Step(0)); }
            world.happen(Event::Deliver(0));
            world.happen(Event::Use { client });
            world.happen(Event::Wait(2 * GRACE));
        };
        for _ in 0..rounds {
            refresh(&mut world, OWNER);
        }
        world.happen(Event::Steal);
        let thief = 1;
        let order = if owner_first { [OWNER, thief] } else { [thief, OWNER] };
        for client in order {
            refresh(&mut world, client);
        }
        prop_assert_eq!(world.record.ended.map(|ending| ending.reason), Some(EndReason::Reuse));
    }
}
