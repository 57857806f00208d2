// operations.md §1, cluster.md §2: the cluster reads its own section; its problems have places in files, like all others.

import { join } from 'node:path'
import { describe, expect, test } from 'vitest'
import { clusterReader } from '../../../cluster/config/machine.ts'
import type { ClusterSettings } from '../../../cluster/config.ts'
import type { ClusterReader } from '../../../runtime/app/cluster-section.ts'
import { anyCluster, appOf, type Files, type Options, problemsOf as problemsIn } from './app-folder.ts'

const cluster = clusterReader({ packageVersion: '0.1.0' })
const KEY = Buffer.alloc(32, 7).toString('base64')

const problemsOf = (files: Files | string, options: Options = {}): Promise<string[]> =>
  problemsIn(files, { ...options, cluster })

async function clusterOf(files: Files | string, options: Options = {}): Promise<ClusterSettings> {
  const { settings } = await appOf(files, { ...options, cluster })
  return settings.cluster as ClusterSettings
}

test('an app that says nothing has a cluster that is off, named like the node', async () => {
  const { settings, dir } = await appOf('node: { name: n1 }', { cluster })
  expect(settings.cluster).toMatchObject({
    enabled: false,
    name: 'n1',
    raft: { storage: { kind: 'disk', dir: join(dir, '.runtime/n1') } },
  })
  expect(settings.warnings).toEqual([])
})

test('every problem has its file, line and column, and stands among those of the other settings', async () => {
  const app = `node: { nmae: x }
cluster:
  nmae: x
  raft:
    max_voters: 4
    read_mode: indx
  membership:
    join_addrs:
      - 10.0.0.1
      - 10.0.0.1:0
    bind_addr: 0.0.0.0
`
  expect(await problemsOf(app)).toEqual([
    'app.yaml:1:9 node.nmae: unknown key "nmae" (did you mean "name"?)',
    'app.yaml:3:3 cluster.nmae: unknown key "nmae" (did you mean "name"?)',
    'app.yaml:5:17 cluster.raft.max_voters: 4 must be odd (did you mean 3 or 5?)',
    'app.yaml:6:16 cluster.raft.read_mode: expected one of "index", "lease", found "indx" (did you mean "index"?)',
    'app.yaml:10:9 cluster.membership.join_addrs[1]: "10.0.0.1:0": a port is a number from 1 to 65535',
    expect.stringMatching(
      /^app\.yaml:11:16 cluster\.membership\.bind_addr: 0\.0\.0\.0 can be reached from other machines/,
    ),
  ])
})

test('a section that is no map', async () => {
  expect(await problemsOf('cluster: yes')).toEqual(['app.yaml:1:10 cluster: expected a map, found "yes"'])
  expect(await problemsOf('cluster:')).toEqual([])
})

describe('flags and variables', () => {
  test('bring every key, as numbers, lists and text', async () => {
    const settings = await clusterOf('', {
      env: { RUNTIME_CLUSTER__MEMBERSHIP__BIND_PORT: '8000', RUNTIME_CLUSTER__NAME: '17' },
      set: [
        'cluster.membership.join_addrs=[10.0.0.1, n2/10.0.0.2:9]',
        `cluster.membership.secret_key=${KEY}`,
        'cluster.failure_domain=12',
        'cluster.session_ttl=20s',
      ],
    })
    expect(settings).toMatchObject({
      name: '17',
      failureDomain: '12',
      sessionTtlMs: 20_000,
      membership: {
        bindPort: 8000,
        seeds: [
          { name: undefined, host: '10.0.0.1', port: 8000 },
          { name: 'n2', host: '10.0.0.2', port: 9 },
        ],
      },
    })
  })

  test('are named by their problems, without showing a secret', async () => {
    const problems = await problemsOf('', { set: ['cluster.membership.secret_key=c2VjcmV0', 'cluster.raft.rle=x'] })
    expect(problems).toEqual([
      '--set cluster.membership.secret_key=… cluster.membership.secret_key: a gossip key has 16, 24 or 32 bytes, this one has 6; `runtime keygen` makes one',
      '--set cluster.raft.rle=… cluster.raft.rle: unknown key "rle" (did you mean "role"?)',
    ])
  })

  test('also from ${env:NAME}', async () => {
    const app = 'cluster: { membership: { secret_key: "${env:KEY}", bind_port: "${env:PORT:-7000}" } }'
    expect((await clusterOf(app, { env: { KEY } })).membership).toMatchObject({ bindPort: 7000, bindHost: '0.0.0.0' })
  })
})

test('paths are relative to the file that says them, and to the working directory when a flag does', async () => {
  const files = {
    'app.yaml': 'cluster: { raft: { data_dir: store } }',
    'conf/c.yaml': 'cluster: { membership: { secret_file: key } }',
    'conf/key': `${KEY}\n`,
  }
  const app = await appOf(files, { cluster, configFiles: ['conf/c.yaml'] })
  const settings = app.settings.cluster as ClusterSettings
  expect(settings.membership.keyFile).toBe(join(app.dir, 'conf/key'))
  expect(settings.membership.keys).toHaveLength(1)
  expect(settings.raft.storage).toEqual({ kind: 'disk', dir: join(app.dir, 'store') })
  const flagged = await clusterOf('', { set: ['cluster.raft.data_dir=store'] })
  expect(flagged.raft.storage).toEqual({ kind: 'disk', dir: join(process.cwd(), 'store') })
})

test.each([
  ['nope', 'no such file'],
  ['.', 'it is a directory'],
  ['/dev/null', 'it is no regular file'],
])('a key file that cannot be read: %s', async (file, why) => {
  expect(await problemsOf(`cluster: { membership: { secret_file: ${file} } }`)).toEqual([
    expect.stringMatching(
      new RegExp(`^app\\.yaml:1:39 cluster\\.membership\\.secret_file: .* cannot be read: ${why}$`),
    ),
  ])
})

test('without a reader the section is passed over: entries that come later are not judged by half of the settings', async () => {
  const { settings } = await appOf('cluster: { whatever: 1 }', { cluster: undefined } as unknown as Options)
  expect(settings.cluster).toBeUndefined()
})

test('a warning has its place too, and keeps nothing from starting', async () => {
  const warns: ClusterReader = {
    ...anyCluster,
    read: (raw, context) => ({
      ...anyCluster.read(raw, context),
      warnings: [{ path: ['raft', 'data_dir'], message: 'diskless' }],
    }),
  }
  const { settings } = await appOf('cluster:\n  raft: { data_dir: memory }\n', { cluster: warns })
  expect(settings.warnings).toEqual([
    { file: expect.any(String), line: 2, column: 21, path: 'cluster.raft.data_dir', message: 'diskless' },
  ])
})

test('a cluster that is on needs nothing else', async () => {
  expect(await problemsOf('cluster:\n  enabled: true\n')).toEqual([])
})
