// The convergent store with the disk, the clocks and the settings of a node. cluster.md §2.1, §8.

import { join } from 'node:path'
import type { Env } from '../../runtime/base/env.ts'
import type { ClusterSettings } from '../config.ts'
import type { Fabric } from '../fabric.ts'
import { diskFiles } from '../storage/files.ts'
import { Timers } from '../timers.ts'
import { CrdtService } from './crdt-store.ts'

interface OpenOptions {
  /** Of the node. */
  readonly name: string
  /** Also of a node whose cluster is off; undefined: everything is as by default. */
  readonly settings: ClusterSettings | undefined
  /** Of the node, for want of settings. */
  readonly dataDir: string
  readonly env: Env
  log: Fabric['log']
}

/** @throws MoonmeshError when the data directory cannot be used */
export function openCrdt({ name, settings, dataDir, env, log }: OpenOptions): Promise<CrdtService> {
  const timers = new Timers(env)
  const storage = settings?.raft.storage ?? { kind: 'disk', dir: dataDir }
  return CrdtService.open({
    name,
    env,
    settings:
      settings === undefined
        ? {}
        : {
            retentionMs: settings.kv.crdtTombstoneRetentionMs,
            skewMaxMs: settings.kv.crdtSkewMsMax,
            valueBytesMax: settings.kv.valueBytesMax,
          },
    files: diskFiles,
    directory: storage.kind === 'disk' ? join(storage.dir, '_sys', 'kvcrdt') : undefined,
    after: (delayMs, run) => timers.after(delayMs, run),
    defer: (run) => void setImmediate(run),
    log,
  })
}
