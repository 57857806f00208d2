// Consensus of one node from its settings: the store on its disk, the replica, and the driver that keeps them going. cluster.md §2.1, §5.

import { join } from 'node:path'
import { messageOf } from '../runtime/base/errors.ts'
import type { ClusterSettings, RaftSettings } from './config.ts'
import type { Fabric } from './fabric.ts'
import { RAFT_DEFAULTS, type RaftOptions } from './raft/core/raft.ts'
import { RaftDriver } from './raft/driver.ts'
import { Store, wipeStore } from './raft/store.ts'
import { StateHost } from './state/host.ts'
import type { PauseWatch } from './timers.ts'

/** @throws MoonmeshError when the store is in use, damaged, or cannot be written */
export function openConsensus(settings: ClusterSettings, fabric: Fabric, pauses: PauseWatch): Promise<RaftDriver> {
  const { storage, snapshotRetain: retain, isEligible } = settings.raft
  const path = storage.kind === 'memory' ? ('memory' as const) : join(storage.dir, '_sys', 'raft')
  const { env } = fabric
  const nowMs = (): number => env.nowMs()
  const defer = (run: () => void): void => {
    setImmediate(run)
  }
  const failed = (error: unknown): void => fabric.log('error', 'state_listener_failed', { error: messageOf(error) })
  return RaftDriver.open({
    fabric,
    state: new StateHost({ nowMs, defer, failed }),
    raft: raftOptionsOf(settings.raft),
    isEligible,
    openStore: (onSync) => Store.open({ path, retain, onSync, nowMs, wallMs: () => env.wallMs() }),
    wipeStore: async () => {
      if (path !== 'memory') await wipeStore(path)
    },
    onPause: (listener) => pauses.subscribe(listener),
    defer,
    soon: (run) => process.nextTick(run),
  })
}

function raftOptionsOf(settings: RaftSettings): RaftOptions {
  return {
    ...RAFT_DEFAULTS,
    heartbeatTimeoutMs: settings.heartbeatTimeoutMs,
    electionTimeoutMs: settings.electionTimeoutMs,
    commitTimeoutMs: settings.commitTimeoutMs,
    appendEntriesMax: settings.appendEntriesMax,
    inflightMax: settings.inflightMax,
    entryBytesMax: settings.entryBytesMax,
    uncommittedBytesMax: settings.uncommittedBytesMax,
    snapshotThreshold: settings.snapshotThreshold,
    snapshotIntervalMs: settings.snapshotIntervalMs,
    trailingEntries: settings.trailingLogs,
    readMode: settings.readMode,
    transferTimeoutMs:
      settings.shutdownTransferTimeoutMs > 0 ? settings.shutdownTransferTimeoutMs : settings.electionTimeoutMs,
  }
}
