// `runtime cluster snapshot save|inspect|restore`: backups of the replicated state. operations.md §2.

import { join, resolve } from 'node:path'
import type { Command } from 'commander'
import type { BackupSummary } from '../../../cluster/index.ts'
import { NODE_NAME, NODE_NAME_FORM } from '../../base/node-name.ts'
import { download, findNode, isRunning, type NodeChoice } from '../client.ts'
import { isTyped } from '../confirm.ts'
import { CommandFailure, EXIT_FAILED, EXIT_OK, EXIT_USAGE } from '../exit.ts'
import { type CommonOptions, Output } from '../output.ts'

interface RestoreOptions extends CommonOptions {
  readonly node: string
  readonly dataDir: string
  readonly raftDir?: string
  readonly force?: boolean
}

export function addSnapshot(snapshot: Command, end: (exitCode: number) => void): void {
  snapshot.description('backups of the replicated state: save one, look into it, found a new cluster from it')
  const command = (name: string, description: string): Command =>
    snapshot
      .command(name)
      .description(description)
      .argument('<file>', 'of the backup')
      .option('--json', 'the result as JSON on standard output')
      .option('--no-color', 'no colours')
  command('save', 'write a consistent backup to a file, through a running node')
    .option('--socket <path>', 'the admin socket of the node')
    .option('--node <name>', 'the node of this name under .runtime/')
    .addHelpText(
      'after',
      '\nAny node will do. Without --socket and --node, the only node that runs under .runtime/ is asked.',
    )
    .action(async (file: string, options: CommonOptions & NodeChoice) => end(await save(file, options)))
  command('inspect', 'say what a backup holds; no node is needed').action(
    async (file: string, options: CommonOptions) => end(await inspect(file, options)),
  )
  command('restore', 'found a new cluster from a backup, on a node that is stopped')
    .requiredOption('--node <name>', 'the node: the first of the new cluster')
    .option('--data-dir <directory>', 'its node.data_dir', '.runtime')
    .option('--raft-dir <directory>', 'its cluster.raft.data_dir, when that is set')
    .option('--force', 'replace what its store holds without asking')
    .action(async (file: string, options: RestoreOptions) => end(await restore(file, options)))
}

async function save(file: string, options: CommonOptions & NodeChoice): Promise<number> {
  const output = Output.standard(options)
  const socket = await findNode(options)
  const { saveBackup } = await import('../../../cluster/index.ts')
  const path = resolve(file)
  const summary = await saveBackup(await download(socket, '/v1/cluster/snapshot'), path)
  if (output.isJson) output.json({ file: path, ...bodyOf(summary) })
  else output.line(`saved ${inShort(summary)} to ${file}`)
  return EXIT_OK
}

async function inspect(file: string, options: CommonOptions): Promise<number> {
  const output = Output.standard(options)
  const { inspectBackup } = await import('../../../cluster/index.ts')
  const summary = await inspectBackup(file)
  if (output.isJson) output.json({ file: resolve(file), ...bodyOf(summary) })
  else for (const line of linesOf(summary)) output.line(line)
  return EXIT_OK
}

async function restore(file: string, options: RestoreOptions): Promise<number> {
  const output = Output.standard(options)
  const { node, dataDir, raftDir, force } = options
  if (!NODE_NAME.test(node)) {
    throw new CommandFailure(EXIT_USAGE, `${node} is no name of a node; it has ${NODE_NAME_FORM}`)
  }
  const own = join(dataDir, node)
  if (await isRunning(own)) {
    throw new CommandFailure(EXIT_FAILED, `node ${node} is running; stop it first`)
  }
  const { backupHeader, holdsState, restoreBackup } = await import('../../../cluster/index.ts')
  // Before anybody is asked to decide on it. That all of it is whole shows before anything is replaced.
  const header = await backupHeader(file)
  const storePath = join(raftDir ?? own, '_sys', 'raft')
  const hasState = await holdsState(storePath)
  if (hasState && force !== true) {
    const what = `to replace what its store at ${storePath} holds by the backup of ${takenAt(header.takenAtMs)}`
    if (!(await isTyped(node, what, '; --force does it without asking'))) {
      throw new CommandFailure(EXIT_FAILED, `the store of ${node} was not touched`)
    }
  }
  const restored = await restoreBackup({ file, storePath, nodeName: node })
  const { formation, revision } = restored
  if (output.isJson) {
    output.json({ node, formation, revision, store: resolve(storePath), backup: bodyOf(restored) })
    return EXIT_OK
  }
  output.line(`restored ${inShort(restored)} as group ${formation}, of which ${node} is the only voter`)
  output.line(`next: start ${node}, then the other nodes, each without a store of before (runtime cluster reset-store)`)
  return EXIT_OK
}

function inShort({ header, contents, sizeBytes }: BackupSummary): string {
  const { counts, clusterId, index } = header
  const stores = contents.stores.length
  return `cluster ${clusterId} at entry ${index}: ${some(counts.keys, 'key')} in ${some(stores, 'store')}, ${size(sizeBytes)}`
}

function linesOf({ header, contents, sizeBytes }: BackupSummary): string[] {
  const { sessions, names, locks, stores } = contents
  const members = (list: readonly string[]): string => list.map(nameIn).join(', ') || '-'
  const widths = Math.max(0, ...stores.map(({ namespace }) => namespace.length))
  return [
    `cluster    ${header.clusterId}, group ${header.formation}`,
    `taken      ${takenAt(header.takenAtMs)} by ${header.node}, version ${header.version}`,
    `position   entry ${header.index}, term ${header.term}, revision ${header.revision}`,
    `voters     ${members(header.voters)}`,
    `standbys   ${members(header.standbys)}`,
    `sessions   ${sessions.open} open, ${sessions.ended} ended`,
    `names      ${names.consistent} consistent, ${names.strong} strong, ${names.reserved} being agreed on`,
    `locks      ${locks.held} held, ${some(locks.waiting, 'process', 'processes')} waiting`,
    `stores     ${stores.length === 0 ? 'none' : stores.length}`,
    ...stores.map(
      ({ namespace, keys, valueBytes }) => `  ${namespace.padEnd(widths)}  ${some(keys, 'key')}, ${size(valueBytes)}`,
    ),
    `size       ${size(sizeBytes)}, whole`,
  ]
}

function bodyOf({ header, contents, sizeBytes }: BackupSummary): Record<string, unknown> {
  const { voters, standbys } = header
  return {
    format: 1,
    cluster_id: header.clusterId,
    formation: header.formation,
    index: header.index,
    term: header.term,
    revision: header.revision,
    feature_level: header.featureLevel,
    settings: header.settings,
    taken_at: takenAt(header.takenAtMs),
    node: header.node,
    version: header.version,
    members: { voters: voters.map(nameIn), standbys: standbys.map(nameIn) },
    sessions: contents.sessions,
    names: contents.names,
    locks: contents.locks,
    stores: contents.stores.map(({ namespace, keys, valueBytes }) => ({ namespace, keys, bytes: valueBytes })),
    bytes: sizeBytes,
  }
}

/** Of `name/store`. */
function nameIn(server: string): string {
  return server.slice(0, server.indexOf('/'))
}

const takenAt = (wallMs: number): string => new Date(wallMs).toISOString()

const some = (count: number, one: string, many = `${one}s`): string => `${count} ${count === 1 ? one : many}`

function size(bytes: number): string {
  for (const [unit, value] of [
    ['GiB', 2 ** 30],
    ['MiB', 2 ** 20],
    ['KiB', 2 ** 10],
  ] as const) {
    if (bytes >= value) return `${(bytes / value).toFixed(1)} ${unit}`
  }
  return `${bytes} B`
}
