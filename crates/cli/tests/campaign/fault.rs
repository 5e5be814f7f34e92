//! Brings a fault about; returns when it is over.

use std::time::Duration;

use nix::sys::signal::Signal;
use tidemart_local::testing::Link;
use tokio::time::sleep;

use super::{
    plan::{Fault, Program},
    seed::{Seed, until},
};
use crate::cycle::Role;

/// Two of a kind run together for so long before one is ended.
const TOGETHER: Duration = Duration::from_secs(1);

impl Seed {
    pub(super) async fn bring_about(&mut self, fault: Fault) -> Result<(), String> {
        match fault {
            Fault::Kill(program) => {
                self.roles(program).remove(0).kill();
                self.relaunch(program);
            }
            Fault::Pause(program, lasts) => {
                self.roles(program)[0].signal(Signal::SIGSTOP);
                sleep(lasts).await;
                self.roles(program)[0].signal(Signal::SIGCONT);
            }
            Fault::Double(program) => self.double(program).await?,
            Fault::Link(way, link, lasts) => {
                self.proxy(way).set(link);
                sleep(lasts).await;
                self.proxy(way).set(Link::Open);
            }
            Fault::Reset(way) => self.proxy(way).reset(),
            Fault::Lose(way, side) => self.proxy(way).lose(side),
            Fault::Truncate => self.truncate().await?,
            Fault::Alter(alter) => self.alter(alter).await?,
            Fault::Restore(running) => self.restore(running).await?,
            Fault::Slot(anew) => self.lose_slot(anew).await?,
            Fault::Topic => self.lose_topic().await?,
            Fault::Retention => self.lose_unread().await?,
            // The wave has brought it about.
            Fault::PutBack => self.start_over().await?,
            Fault::Server(_) => {}
        }
        Ok(())
    }

    /// Two consumers share the work until one is killed; of two captures the newer one shuts out the other.
    async fn double(&mut self, program: Program) -> Result<(), String> {
        self.relaunch(program);
        sleep(TOGETHER).await;
        let roles = self.roles(program);
        if program == Program::Capture {
            until!("one of two captures to end", roles.iter_mut().any(|role| !role.is_running()))?;
            self.roles(program).retain_mut(Role::is_running);
        } else {
            roles.remove(0).kill();
        }
        Ok(())
    }
}
