//! Which members there are: added and removed while they serve.

use crate::client::{Client, Failure};
use crate::proto::cluster_client::ClusterClient;
use crate::proto::maintenance_client::MaintenanceClient;
use crate::proto::{
    Member, MemberAddRequest, MemberListRequest, MemberPromoteRequest, MemberRemoveRequest, MoveLeaderRequest,
};

impl Client {
    /// All members.
    ///
    /// # Errors
    /// There is no answer.
    pub async fn members(&self) -> Result<Vec<Member>, Failure> {
        let (calls, origin) = self.calls().await?;
        let request = MemberListRequest { linearizable: true };
        let said = self.answered(ClusterClient::with_origin(calls, origin).member_list(request)).await?;
        Ok(said.members)
    }

    /// One more, which others reach at this address; it takes part, and does not vote before it is promoted. All of them.
    ///
    /// # Errors
    /// There is no answer, it is there already, or another one does not vote yet.
    pub async fn add_learner(&self, peer_url: &str) -> Result<Vec<Member>, Failure> {
        let (calls, origin) = self.calls().await?;
        let request = MemberAddRequest { peer_ur_ls: vec![peer_url.to_owned()], is_learner: true };
        let said = self.answered(ClusterClient::with_origin(calls, origin).member_add(request)).await?;
        Ok(said.members)
    }

    /// From now on it votes.
    ///
    /// # Errors
    /// There is no answer, or it does not have yet what the others have.
    pub async fn promote(&self, member: u64) -> Result<(), Failure> {
        let (calls, origin) = self.calls().await?;
        let request = MemberPromoteRequest { id: member };
        self.answered(ClusterClient::with_origin(calls, origin).member_promote(request)).await.map(drop)
    }

    /// The member that is asked, which leads the others, has this one lead them.
    ///
    /// # Errors
    /// There is no answer, it does not lead, or the other one does not take it.
    pub async fn pass_on(&self, member: u64) -> Result<(), Failure> {
        let (calls, origin) = self.calls().await?;
        let request = MoveLeaderRequest { target_id: member };
        self.answered(MaintenanceClient::with_origin(calls, origin).move_leader(request)).await.map(drop)
    }

    /// It is a member no more.
    ///
    /// # Errors
    /// There is no answer, or too few would be left of those that live.
    pub async fn remove(&self, member: u64) -> Result<(), Failure> {
        let (calls, origin) = self.calls().await?;
        let request = MemberRemoveRequest { id: member };
        self.answered(ClusterClient::with_origin(calls, origin).member_remove(request)).await.map(drop)
    }
}
