// Inputs, effects and messages of the raft core in one line each, for transcripts and traces of the simulator. Nothing reads them back.

import type { RaftEffect, RaftInput } from '../../cluster/raft/core/effects.ts'
import type { Entry, LogPosition } from '../../cluster/raft/core/entry.ts'
import type { Configuration } from '../../cluster/raft/core/membership.ts'
import type { Message, SnapshotMeta } from '../../cluster/raft/core/messages.ts'

function describePosition({ index, term }: LogPosition): string {
  return `${index}/t${term}`
}

function describeConfiguration({ voters, standbys }: Configuration): string {
  return standbys.length === 0 ? `(${voters.join(' ')})` : `(${voters.join(' ')} | ${standbys.join(' ')})`
}

/** `5/t2 commands 12B`, with the configuration in full. */
function describeEntry(entry: Entry): string {
  const position = describePosition(entry)
  switch (entry.kind) {
    case 'commands':
    case 'settings':
      return `${position} ${entry.kind} ${entry.data.length}B`
    case 'configuration':
      return `${position} configuration ${describeConfiguration(entry.configuration)}`
    default:
      return `${position} ${entry.kind}`
  }
}

function describeSnapshot({ index, term, sizeBytes, configuration }: SnapshotMeta): string {
  return `${describePosition({ index, term })} ${sizeBytes}B ${describeConfiguration(configuration)}`
}

/** The round is left out: it is made from a clock and says nothing to a reader. */
function describeMessage(message: Message): string {
  const head = `${message.kind} t${message.term}`
  switch (message.kind) {
    case 'prevote':
    case 'vote':
      return `${head} last ${describePosition(message.last)}${message.isTransfer ? ' transfer' : ''}`
    case 'prevote-reply':
    case 'vote-reply':
      return `${head} ${message.granted ? 'granted' : `refused: ${message.why ?? ''}`}`
    case 'append': {
      const what = message.isHeartbeat ? `${head} heartbeat` : head
      return `${what} after ${describePosition(message.previous)} commit ${message.commit}${describeEntries(message.entries)}`
    }
    case 'append-reply': {
      const what = message.isHeartbeat ? `${head} heartbeat` : head
      if (message.ok) return `${what} ok ${message.index}`
      const { hint } = message
      if (hint === undefined) return `${what} refused ${message.index}`
      return `${what} refused ${message.index} hint ${hint.index}${hint.term === undefined ? '' : `/t${hint.term}`}`
    }
    case 'snapshot':
      return `${head} ${describeSnapshot(message.snapshot)} offset ${message.offset} ${message.data.length}B`
    case 'snapshot-reply':
      return `${head} ${message.index} offset ${message.offset}${message.isDone ? ' done' : ''}`
    case 'read-index-reply':
      return `${head} ${message.index ?? 'refused'}`
    default:
      return head
  }
}

export function describeEffect(effect: RaftEffect): string {
  switch (effect.kind) {
    case 'persist': {
      const { write, hardState, reset, log } = effect
      const parts = [`persist #${write}`]
      if (hardState !== undefined) parts.push(`term ${hardState.term} vote ${hardState.vote ?? 'nobody'}`)
      if (reset !== undefined) parts.push(`reset to ${describePosition(reset)}`)
      if (log !== undefined) parts.push(`log after ${log.after}${describeEntries(log.entries)}`)
      return parts.join(' ')
    }
    case 'send':
      return `send ${effect.to}: ${describeMessage(effect.message)}`
    case 'send-chunk':
      return `send-chunk ${effect.to}: ${describeSnapshot(effect.snapshot)} offset ${effect.offset} ${effect.lengthBytes}B`
    case 'apply':
      return `apply${describeEntries(effect.entries)}`
    case 'restore':
    case 'begin-snapshot':
    case 'finish-snapshot':
      return `${effect.kind} ${describeSnapshot(effect.snapshot)}`
    case 'write-chunk':
      return `write-chunk ${describePosition(effect.snapshot)} offset ${effect.offset} ${effect.data.length}B`
    case 'compact':
      return `compact to ${describePosition(effect.base)}`
    case 'read-entries':
      return `read-entries for ${effect.to} after ${effect.after}`
    case 'accepted':
      return `accepted ${effect.ref} as ${describePosition(effect)}`
    case 'refused':
      return `refused ${effect.ref}: ${effect.reason}${effect.why === undefined ? '' : ` (${effect.why})`}`
    case 'read-ready':
      return `read-ready ${effect.ref} at ${effect.index}`
    case 'read-failed':
      return `read-failed ${effect.ref}: ${effect.reason}`
    case 'transfer-ended':
      return `transfer-ended ${effect.ref}: ${effect.ok ? 'ok' : (effect.why ?? '')}`
    case 'state':
      return `state ${effect.role} t${effect.term} leader ${effect.leader ?? 'nobody'}`
    case 'configuration':
      return `configuration ${effect.index} ${describeConfiguration(effect.configuration)}`
    case 'regressed':
      return `regressed ${effect.server}`
    default:
      return effect.kind
  }
}

export function describeInput(input: RaftInput): string {
  switch (input.kind) {
    case 'message':
      return `${input.from}: ${describeMessage(input.message)}`
    case 'persisted':
      return `persisted #${input.write}`
    case 'applied':
      return `applied ${input.index}`
    case 'propose':
      return `propose ${input.proposals.map(({ ref, payload }) => `${ref} ${payload.kind}`).join(', ')}`
    case 'change':
      return `change ${input.ref} ${input.change.op} ${input.change.server}`
    case 'read':
      return `read ${input.ref}`
    case 'transfer':
      return `transfer ${input.ref} to ${input.to ?? 'the best voter'}`
    case 'unreachable':
    case 'blocked':
    case 'drained':
      return `${input.kind} ${input.peer}`
    case 'entries-read':
      return `entries-read for ${input.to} after ${input.after}${describeEntries(input.entries)}`
    case 'chunk-failed':
      return `chunk-failed for ${input.to}`
    case 'chunk-written':
      return `chunk-written through ${input.through}`
    case 'snapshot-finished':
      return `snapshot-finished ${input.ok ? 'ok' : 'failed'}`
    case 'snapshot-created':
      return `snapshot-created ${describeSnapshot(input.snapshot)}`
    case 'eligible':
      return `eligible ${input.isEligible}`
    case 'tell-commit':
      return `tell-commit to ${input.peer}`
    case 'sync-time':
      return `sync-time ${input.syncMs} ms`
    default:
      return input.kind
  }
}

function describeEntries(entries: readonly Entry[]): string {
  return entries.length === 0 ? '' : ` [${entries.map(describeEntry).join(', ')}]`
}
