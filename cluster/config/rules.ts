// What settings ask of each other. A rule is silent when one of its settings is wrong by itself. cluster.md §2.1, §2.2.

import { durationText, sizeText } from './forms.ts'
import type { KEYS } from './keys.ts'
import type { Draft } from './read.ts'

export type ClusterDraft = Draft<typeof KEYS>

/** Values that follow from several settings. */
export interface Derived {
  readonly electionMs: number
  readonly commitMs: number
  readonly votersMin: number
  readonly bootstrapExpect: number
  readonly role: 'server' | 'client'
}

export function applyRules(draft: ClusterDraft): Derived {
  checkGossipTimes(draft)
  checkMesh(draft)
  checkSessions(draft)
  checkSizes(draft)
  warnOfChoices(draft)
  const role = draft.values.raft.enabled ? draft.values.raft.role : 'client'
  return {
    role,
    electionMs: electionMs(draft),
    commitMs: commitMs(draft),
    votersMin: votersMin(draft),
    bootstrapExpect: bootstrapExpect(draft, role),
  }
}

function checkGossipTimes(draft: ClusterDraft): void {
  const { probe_interval: interval, probe_timeout: timeout } = draft.values.membership
  const paths = ['membership.probe_interval', 'membership.probe_timeout'] as const
  if (!draft.areSound(...paths) || interval > timeout) return
  const found = `${durationText(interval)} and ${durationText(timeout)}`
  draft.problem(draft.toBlame(...paths), `probe_interval must be more than probe_timeout, found ${found}`)
}

function checkMesh(draft: ClusterDraft): void {
  const { internode } = draft.values
  if (
    draft.areSound('internode.bind_port', 'internode.auto_port') &&
    !internode.auto_port &&
    internode.bind_port === 0
  ) {
    draft.problem('internode.auto_port', 'without automatic ports internode.bind_port must be set, and not to 0')
  }
  if (draft.isGiven('internode.advertise_port') && !draft.isGiven('internode.advertise_addr')) {
    draft.problem('internode.advertise_port', 'it needs internode.advertise_addr')
  }
  const times = ['internode.keepalive_timeout', 'internode.keepalive_interval'] as const
  const { keepalive_interval: interval, keepalive_timeout: timeout } = internode
  if (draft.areSound(...times) && timeout < 2 * interval) {
    const found = `${durationText(timeout)} and ${durationText(interval)}`
    draft.problem(
      draft.toBlame(...times),
      `keepalive_timeout must be at least twice keepalive_interval, found ${found}`,
    )
  }
  const queues = ['internode.total_queue_bytes', 'internode.queue_bytes'] as const
  const { total_queue_bytes: total, queue_bytes: each } = internode
  if (draft.areSound(...queues) && total < each) {
    const found = `${sizeText(total)} and ${sizeText(each)}`
    draft.problem(draft.toBlame(...queues), `total_queue_bytes must be at least queue_bytes, found ${found}`)
  }
}

function checkSessions(draft: ClusterDraft): void {
  const { session_ttl: ttl, raft } = draft.values
  const beats = ['session_ttl', 'raft.heartbeat_timeout'] as const
  if (draft.areSound(...beats) && ttl < 2 * raft.heartbeat_timeout) {
    const found = `${durationText(ttl)} and ${durationText(raft.heartbeat_timeout)}`
    draft.problem(draft.toBlame(...beats), `session_ttl must be at least twice raft.heartbeat_timeout, found ${found}`)
  }
  const probes = ['raft.leader_probe_interval', 'session_ttl'] as const
  if (draft.areSound(...probes) && raft.leader_probe_interval > ttl / 3) {
    const found = `${durationText(raft.leader_probe_interval)} and ${durationText(ttl)}`
    draft.problem(
      draft.toBlame(...probes),
      `raft.leader_probe_interval must be at most a third of session_ttl, found ${found}`,
    )
  }
  const graces = ['raft.evict_grace', 'session_ttl'] as const
  if (draft.areSound(...graces) && raft.evict_grace < ttl) {
    const found = `${durationText(raft.evict_grace)} and ${durationText(ttl)}`
    draft.problem(draft.toBlame(...graces), `raft.evict_grace must be at least session_ttl, found ${found}`)
  }
}

function checkSizes(draft: ClusterDraft): void {
  const paths = ['kv.max_value_size', 'raft.max_entry_size'] as const
  const { kv, raft } = draft.values
  if (!draft.areSound(...paths) || kv.max_value_size <= raft.max_entry_size / 2) return
  const found = `${sizeText(kv.max_value_size)} and ${sizeText(raft.max_entry_size)}`
  draft.problem(
    draft.toBlame(...paths),
    `kv.max_value_size must be at most half of raft.max_entry_size, found ${found}`,
  )
}

function warnOfChoices(draft: ClusterDraft): void {
  const { raft } = draft.values
  if (raft.data_dir === 'memory') {
    draft.warn(
      'raft.data_dir',
      'diskless: what this node stores is gone when it stops, and it comes back as a new member',
    )
  }
  if (raft.read_mode === 'lease') {
    draft.warn(
      'raft.read_mode',
      'lease reads rely on a clock that goes on while a virtual machine is suspended; on one that can be, reads may be stale',
    )
  }
}

function electionMs(draft: ClusterDraft): number {
  const { election_timeout: election, heartbeat_timeout: heartbeat } = draft.values.raft
  if (election >= heartbeat || !draft.areSound('raft.election_timeout', 'raft.heartbeat_timeout')) return election
  draft.warn(
    'raft.election_timeout',
    `${durationText(election)} is less than raft.heartbeat_timeout, and is raised to ${durationText(heartbeat)}`,
  )
  return heartbeat
}

function commitMs(draft: ClusterDraft): number {
  const { commit_timeout: commit, heartbeat_timeout: heartbeat } = draft.values.raft
  const max = heartbeat / 3
  if (commit <= max || !draft.areSound('raft.commit_timeout', 'raft.heartbeat_timeout')) return commit
  draft.warn(
    'raft.commit_timeout',
    `${durationText(commit)} is more than a third of raft.heartbeat_timeout, and is lowered to ${durationText(Math.floor(max))}`,
  )
  return Math.floor(max)
}

/** A cluster that is to have few voters shrinks to no more than these, without being told so twice. */
function votersMin(draft: ClusterDraft): number {
  const { min_voters: min, max_voters: max } = draft.values.raft
  if (min <= max || !draft.isGiven('raft.min_voters')) return Math.min(min, max)
  if (draft.areSound('raft.min_voters', 'raft.max_voters')) {
    draft.problem('raft.min_voters', `min_voters must be at most max_voters, found ${min} and ${max}`)
  }
  return max
}

function bootstrapExpect(draft: ClusterDraft, role: 'server' | 'client'): number {
  const { membership, raft } = draft.values
  const path = 'raft.bootstrap_expect'
  const joins = membership.join_addrs.length > 0
  const expect = raft.bootstrap_expect ?? (role === 'client' || joins ? 0 : 1)
  if (!draft.areSound(path, 'membership.join_addrs', 'raft.role', 'raft.enabled', 'raft.eligible')) return expect
  if (role === 'client' && expect >= 1) {
    const why = raft.enabled ? 'raft.role is client' : 'raft.enabled is false'
    draft.problem(path, `this node cannot take part in founding a cluster: ${why}; remove it, or set it to 0`)
  } else if (role === 'server' && !raft.eligible && expect === 1) {
    draft.problem(
      draft.toBlame(path, 'raft.eligible'),
      'a node that may not vote cannot found a cluster alone: set membership.join_addrs, or let it vote (raft.eligible: true)',
    )
  }
  if (expect === 1 && joins) {
    draft.warn(path, 'this node founds a cluster of its own when it finds none at membership.join_addrs')
  }
  if (expect === 2)
    draft.warn(path, 'no fault tolerance: two voters stop working when either of them is lost; take 1 or 3')
  return expect
}
