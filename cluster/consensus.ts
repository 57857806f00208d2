// Consensus of one node from its settings: the store on its disk, the replica, and the driver that keeps them going. cluster.md §2.1, §5.

import { join } from 'node:path'
import { type MoonmeshError, messageOf } from '../runtime/base/errors.ts'
import type { ClusterSettings, RaftSettings } from './config.ts'
import type { Fabric } from './fabric.ts'
import { RAFT_DEFAULTS, type RaftOptions } from './raft/core/raft.ts'
import { RaftDriver } from './raft/driver.ts'
import { Store, wipeStore } from './raft/store.ts'
import type { Values } from './state/core/values.ts'
import { StateHost } from './state/host.ts'
import { clearSpill, SpilledValues } from './state/spilled-values.ts'
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
  const values = storage.kind === 'memory' ? undefined : valuesIn(join(storage.dir, '_sys', 'values'), fabric)
  return RaftDriver.open({
    fabric,
    state: new StateHost({ nowMs, defer, failed, ...(values === undefined ? {} : { values }) }),
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

/** The files of a run have no names: what is there is of one that could not take them away, and of use to nobody. */
function valuesIn(directory: string, fabric: Fabric): () => Values {
  clearSpill(directory)
  const failed = ({ message }: MoonmeshError): void => fabric.log('warn', 'state_values_stay', { reason: message })
  return () => new SpilledValues({ directory, failed, nowMs: () => fabric.env.nowMs() })
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
