// The settings of the cluster as they come out on this machine: its name, its addresses, its clock, its files.

import { readFileSync, statSync } from 'node:fs'
import { hostname, networkInterfaces } from 'node:os'
import { codeOf, messageOf } from '../../runtime/base/errors.ts'
import { type ClusterContext, type ClusterReading, clusterSettings, TEXT_KEYS } from '../config.ts'
import type { Interface } from './addresses.ts'
import type { FileReading } from './security.ts'

/** What whoever loads the settings adds to the machine. */
type LoaderContext = Pick<ClusterContext, 'nodeName' | 'dataDir' | 'resolvePath'>

/** Keys, certificates and lists of revoked ones: all are small. */
const FILE_BYTES_MAX = 1 << 20

/** Reads the section for a loader that knows no cluster. */
export function clusterReader({ packageVersion }: { packageVersion: string }): {
  readonly textKeys: ReadonlySet<string>
  read(raw: unknown, context: LoaderContext): ClusterReading
} {
  return {
    textKeys: TEXT_KEYS,
    read: (raw, context) =>
      clusterSettings(raw, {
        ...context,
        hostName: hostname(),
        interfaces: interfacesOfMachine(),
        packageVersion,
        nowMs: Date.now(),
        readFile: readSmallFile,
      }),
  }
}

function interfacesOfMachine(): Interface[] {
  return Object.entries(networkInterfaces()).flatMap(([name, addresses = []]) =>
    addresses.map(({ address }) => ({ name, address })),
  )
}

export function readSmallFile(file: string): FileReading {
  try {
    const stat = statSync(file)
    // Opening a pipe would wait for somebody to write into it.
    if (!stat.isFile()) return { ok: false, why: stat.isDirectory() ? 'it is a directory' : 'it is no regular file' }
    if (stat.size > FILE_BYTES_MAX) return { ok: false, why: `it has ${stat.size} bytes, more than 1MiB` }
    const mode = process.platform === 'win32' ? undefined : stat.mode
    return { ok: true, text: readFileSync(file, 'utf8'), mode }
  } catch (error) {
    switch (codeOf(error)) {
      case 'ENOENT':
        return { ok: false, why: 'no such file' }
      case 'EACCES':
      case 'EPERM':
        return { ok: false, why: 'no permission' }
      default:
        return { ok: false, why: messageOf(error) }
    }
  }
}
