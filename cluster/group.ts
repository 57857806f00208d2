// The part that a node has in the group of the cluster, if any: founding it, being a member, leading and leaving; and what people
// and scripts are told of it. cluster.md §1.2, §5.4 to §5.9.

import { MoonmeshError, messageOf } from '../runtime/base/errors.ts'
import { isPackedMap, pack, unpack } from '../runtime/base/msgpack.ts'
import type { ClusterSettings } from './config.ts'
import { type Fabric, memberRole } from './fabric.ts'
import type { Affiliations } from './raft/affiliation.ts'
import { Agreement, groupSettingsOf, packGroupSettings } from './raft/agreement.ts'
import type { Consensus, ConsensusStatus } from './raft/consensus.ts'
import { nameOf, type ServerId } from './raft/core/server.ts'
import { Formation } from './raft/formation.ts'
import { Membership } from './raft/membership.ts'
import { hasOtherStore } from './raft/seen.ts'

/** A node's place in the cluster. `client`: in no configuration. */
type NodeRole = 'leader' | 'voter' | 'standby' | 'client'

/** What this node knows of the group. */
interface GroupStatus {
  readonly role: NodeRole
  /** Hex; undefined on a client and before the first one. */
  readonly formation: string | undefined
  /** A node's name; undefined: none that this node knows. */
  readonly leader: string | undefined
  readonly term: number
  readonly commitIndex: number
  readonly appliedIndex: number
  /** Names. */
  readonly voters: readonly string[]
  readonly standbys: readonly string[]
  /** As far as can be told from here, enough voters are there to decide. */
  readonly hasQuorum: boolean
  /** Why there is no group yet. */
  readonly waitingFor: string | undefined
}

interface GroupCheck {
  readonly name: 'raft_formation' | 'raft_settings' | 'raft_last_contact' | 'disk' | 'fsm'
  readonly ok: boolean
  readonly detail: string
}

export interface GroupEvent {
  readonly kind: 'leader.changed' | 'promoted' | 'demoted'
  /** The name of a node; empty when there is no leader any more. */
  readonly node: string
  readonly term: number
}

interface GroupOptions {
  readonly fabric: Fabric
  /** Undefined on a client. */
  readonly consensus: Consensus | undefined
  /** Undefined: this node holds to no group. */
  readonly affiliations?: Affiliations
  readonly settings: ClusterSettings
  readonly onEvent: (event: GroupEvent) => void
}

const METHOD_WHO = 'raft.who'
const WHO_MS = 3000
/** Health: how long without a leader, by role, and how long after the start nobody asks. */
const VOTER_CONTACT_MS = 30_000
const STANDBY_CONTACT_MS = 5 * 60_000
const BOOT_GRACE_MS = 60_000
/** Of handing over, beside what the settings say. */
const STEP_ASIDE_MARGIN_MS = 1000

export class Group {
  readonly membership: Membership
  readonly formation: Formation | undefined
  /** Undefined on a client. */
  readonly agreement: Agreement | undefined
  readonly #affiliations: Affiliations | undefined
  readonly #fabric: Fabric
  readonly #consensus: Consensus | undefined
  readonly #settings: ClusterSettings
  readonly #onEvent: (event: GroupEvent) => void
  readonly #startedAtMs: number
  readonly #unsubscribe: (() => void)[] = []
  #leaderlessSinceMs: number | undefined
  #told: { leader: ServerId | undefined; term: number; voters: readonly ServerId[] | undefined }
  /** Who others said leads, on a client. */
  #heardLeader: { readonly name: string; readonly epoch: number; readonly term: number } | undefined

  constructor({ fabric, consensus, affiliations, settings, onEvent }: GroupOptions) {
    this.#affiliations = affiliations
    this.#fabric = fabric
    this.#consensus = consensus
    this.#settings = settings
    this.#onEvent = onEvent
    this.#startedAtMs = fabric.env.nowMs()
    this.#leaderlessSinceMs = this.#startedAtMs
    this.#told = { leader: undefined, term: 0, voters: undefined }
    const { raft, failureDomain } = settings
    const own = groupSettingsOf(raft, settings.sessionTtlMs)
    affiliations?.follow(consensus)
    this.agreement = consensus === undefined ? undefined : new Agreement({ fabric, consensus, own })
    this.formation =
      consensus === undefined
        ? undefined
        : new Formation({
            fabric,
            consensus,
            settings: raft,
            clusterId: settings.id,
            failureDomain,
            hasJoinAddresses: settings.membership.seeds.length > 0,
            groupSettings: packGroupSettings(own),
          })
    const { agreement } = this
    this.membership = new Membership({ fabric, consensus, agreement, settings: raft, failureDomain })
    if (consensus === undefined) {
      for (const [key, value] of [
        ['raft_status', 'none'],
        ['raft_role', 'client'],
        ['raft_eligible', 'false'],
      ] as const) {
        fabric.setTag(key, value)
      }
      return
    }
    this.#unsubscribe.push(
      consensus.onStatus(() => this.#changed(consensus.status())),
      fabric.serve(METHOD_WHO, () => {
        const { leader, term } = consensus.status()
        return pack({ leader: leader === undefined ? null : nameOf(leader), term })
      }),
    )
    this.#changed(consensus.status())
  }

  status(): GroupStatus {
    const status = this.#consensus?.status()
    const waitingFor = this.formation?.waitingFor
    const isOutside = status === undefined || status.role === 'none' || this.formation?.isRetired === true
    if (isOutside) return this.#fromOutside(status, waitingFor)
    const { voters, standbys } = status.configuration.configuration
    const { formation, leader, term, commit: commitIndex, applied: appliedIndex } = status
    return {
      role: status.role,
      formation,
      leader: leader === undefined ? undefined : nameOf(leader),
      term,
      commitIndex,
      appliedIndex,
      voters: voters.map(nameOf),
      standbys: standbys.map(nameOf),
      // Who leads has a majority, or gives up within a tenth of heartbeat_timeout (check-quorum). To count here who answered
      // lately would doubt a leader that has only just been elected, or whose event loop has answers waiting.
      hasQuorum: leader !== undefined,
      waitingFor,
    }
  }

  /** What `system.raft.stats` shows; decimal numbers or words. */
  stats(): Record<string, string> {
    const status = this.#consensus?.status()
    const { voters = [], standbys = [] } = status?.configuration.configuration ?? {}
    const { commit = 0, applied = 0, term = 0, last, snapshot, followers = [] } = status ?? {}
    const silentMs = followers.map((each) => each.silentMs).filter(Number.isFinite)
    const sinceMs = this.#leaderlessSinceMs === undefined ? 0 : this.#fabric.env.nowMs() - this.#leaderlessSinceMs
    const contactMs = status?.role === 'leader' && silentMs.length > 0 ? Math.min(...silentMs) : sinceMs
    const figures = {
      term,
      last_log_index: last?.index ?? 0,
      last_log_term: last?.term ?? 0,
      commit_index: commit,
      applied_index: applied,
      fsm_pending: Math.max(0, commit - applied),
      last_snapshot_index: snapshot?.index ?? 0,
      last_snapshot_term: snapshot?.term ?? 0,
      num_peers: Math.max(0, voters.length + standbys.length - (isMemberOf(status) ? 1 : 0)),
    }
    const texts = Object.entries(figures).map(([key, value]) => [key, String(value)])
    return { state: stateOf(status), ...Object.fromEntries(texts), last_contact: `${Math.round(contactMs)}ms` }
  }

  /** Asks, where this node does not know by itself. */
  async leader(): Promise<string | undefined> {
    const own = this.status().leader
    if (own !== undefined) return own
    for (const node of this.#fabric.live()) {
      const { name, epoch } = node
      if (memberRole(this.#fabric, node) === undefined) continue
      try {
        const answer = unpack(await this.#fabric.request({ name, epoch }, METHOD_WHO, pack({}), { deadlineMs: WHO_MS }))
        const leader = isPackedMap(answer) ? answer['leader'] : undefined
        const term = isPackedMap(answer) && typeof answer['term'] === 'number' ? answer['term'] : 0
        if (typeof leader !== 'string') continue
        const epochOfLeader = this.#fabric.live().find((node) => node.name === leader)?.epoch ?? 0
        this.#heardLeader = { name: leader, epoch: epochOfLeader, term }
        return leader
      } catch {
        // The next one may know.
      }
    }
    this.#heardLeader = undefined
    return undefined
  }

  checks(): GroupCheck[] {
    const client = { ok: true, detail: 'a client' }
    const outside = this.#consensus?.status().formation === undefined ? this.#affiliations?.health() : undefined
    const formation = outside?.ok === false ? outside : (this.formation?.health() ?? outside ?? client)
    const settings = this.agreement?.health() ?? client
    return [
      { name: 'raft_formation', ...formation },
      { name: 'raft_settings', ...settings },
      this.#contactCheck(),
      ...this.#storeChecks(),
    ]
  }

  /**
   * What comes before the end of this node: others lead, and, when it goes for good, it is no member any more. Bounded; what does
   * not work is logged and passed over. cluster.md §5.9.
   */
  async stepAside({ isForGood }: { isForGood: boolean }): Promise<void> {
    const consensus = this.#consensus
    if (consensus === undefined) return
    this.formation?.leave()
    this.membership.leave()
    consensus.setEligible(false)
    const { shutdownTransferTimeoutMs } = this.#settings.raft
    const boundMs = shutdownTransferTimeoutMs + STEP_ASIDE_MARGIN_MS
    const others = consensus.status().configuration.configuration.voters.filter((server) => server !== consensus.self)
    if (consensus.status().role === 'leader' && others.length > 0 && shutdownTransferTimeoutMs > 0) {
      await this.#try('raft_transfer_failed', boundMs, async () => {
        await consensus.transfer()
      })
    }
    if (!isForGood) return
    await this.#try('raft_leave_failed', RETIRE_MS, async () => {
      const index = await this.membership.retire(RETIRE_MS)
      await this.formation?.retired(index ?? consensus.status().configuration.index)
    })
  }

  async close(): Promise<void> {
    for (const stop of this.#unsubscribe.splice(0)) stop()
    this.membership.close()
    this.agreement?.close()
    await this.formation?.close()
    await this.#affiliations?.close()
  }

  /** From what gossip tells of the members. */
  #fromOutside(status: ConsensusStatus | undefined, waitingFor: string | undefined): GroupStatus {
    const live = this.#fabric.live()
    const named = (role: string): string[] =>
      live.filter((node) => memberRole(this.#fabric, node) === role).map(({ name }) => name)
    const voters = named('voter')
    const heard = this.#heardLeader
    const isThere = heard !== undefined && live.some(({ name, epoch }) => name === heard.name && epoch === heard.epoch)
    return {
      role: 'client',
      formation: status?.formation ?? this.#fabric.formation,
      leader: isThere ? heard.name : undefined,
      term: status?.term ?? heard?.term ?? 0,
      commitIndex: status?.commit ?? 0,
      appliedIndex: status?.applied ?? 0,
      voters,
      standbys: named('standby'),
      hasQuorum: voters.length > 0 && isThere,
      waitingFor: voters.length > 0 && this.formation?.isRetired !== true ? undefined : waitingFor,
    }
  }

  #contactCheck(): GroupCheck {
    const { role, leader, waitingFor } = this.status()
    const check = (ok: boolean, detail: string): GroupCheck => ({ name: 'raft_last_contact', ok, detail })
    if (role === 'client') return check(true, waitingFor === undefined ? 'no member' : 'no group yet')
    if (role === 'leader') return check(true, 'this node leads')
    if (leader !== undefined) return check(true, `${leader} leads`)
    const nowMs = this.#fabric.env.nowMs()
    const missedMs = nowMs - (this.#leaderlessSinceMs ?? nowMs)
    const boundMs = role === 'voter' ? VOTER_CONTACT_MS : STANDBY_CONTACT_MS
    const isYoung = nowMs - this.#startedAtMs < BOOT_GRACE_MS
    const seconds = `no leader for ${Math.round(missedMs / 1000)} s`
    return check(isYoung || missedMs < boundMs, `${seconds}${this.#missing()}`)
  }

  /** Who is not seen of those who could elect a leader. */
  #missing(): string {
    const status = this.#consensus?.status()
    const voters = status?.configuration.configuration.voters ?? []
    const live = this.#fabric.live()
    const missing = voters.flatMap((server) => {
      if (server === status?.self) return []
      const name = nameOf(server)
      const node = live.find((each) => each.name === name)
      if (node === undefined && name !== this.#fabric.name) return [name]
      return node === undefined || hasOtherStore(node, server) ? [`${name} with the store that it had before`] : []
    })
    return missing.length === 0
      ? ''
      : `; ${missing.length} of ${voters.length} voters are not seen: ${missing.join(', ')}`
  }

  /** What keeps this server silent although everything around it may be well. */
  #storeChecks(): GroupCheck[] {
    const status = this.#consensus?.status()
    const { failedPart, failure = '' } = status ?? {}
    const fine = status === undefined ? 'a client' : undefined
    return [
      failedPart === 'disk'
        ? { name: 'disk', ok: false, detail: `${failure}; the store is opened anew every 5 s` }
        : { name: 'disk', ok: true, detail: fine ?? 'it keeps what it is given' },
      failedPart === 'machine'
        ? { name: 'fsm', ok: false, detail: `${failure}; it stands still until this node is started again` }
        : { name: 'fsm', ok: true, detail: fine ?? `entry ${status?.applied} is applied` },
    ]
  }

  #changed({ leader, term, configuration, commit }: ConsensusStatus): void {
    const nowMs = this.#fabric.env.nowMs()
    this.#leaderlessSinceMs = leader === undefined ? (this.#leaderlessSinceMs ?? nowMs) : undefined
    const before = this.#told
    const { voters } = configuration.configuration
    const isCommitted = configuration.index <= commit
    this.#told = { leader, term, voters: isCommitted ? voters : before.voters }
    if (leader !== before.leader) {
      this.#onEvent({ kind: 'leader.changed', node: leader === undefined ? '' : nameOf(leader), term })
    }
    if (!isCommitted || before.voters === undefined) return
    // By name: a node whose store is replaced by another votes before and after.
    const [were, are] = [new Set(before.voters.map(nameOf)), new Set(voters.map(nameOf))]
    for (const node of are) if (!were.has(node)) this.#onEvent({ kind: 'promoted', node, term })
    for (const node of were) if (!are.has(node)) this.#onEvent({ kind: 'demoted', node, term })
  }

  async #try(event: string, boundMs: number, act: () => Promise<void>): Promise<void> {
    let cancel: () => void = () => {}
    const late = new Promise<never>((_, reject) => {
      cancel = this.#fabric.after(boundMs, () => {
        reject(new MoonmeshError('Timeout', `it took more than ${boundMs / 1000} s`))
      })
    })
    try {
      await Promise.race([act(), late])
    } catch (error) {
      this.#fabric.log('warn', event, { reason: messageOf(error) })
    } finally {
      cancel()
    }
  }
}

function isMemberOf(status: ConsensusStatus | undefined): boolean {
  return status !== undefined && status.role !== 'none'
}

function stateOf(status: ConsensusStatus | undefined): string {
  if (status === undefined || status.failure !== undefined) return 'Shutdown'
  if (status.raftRole === 'leader') return 'Leader'
  return status.raftRole === 'follower' ? 'Follower' : 'Candidate'
}

/** Of the promotion of somebody else and of our own removal, on the way out. */
const RETIRE_MS = 8000
