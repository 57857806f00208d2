import { mkdirSync, mkdtempSync, rmSync } from 'node:fs'
import { createServer, type RequestListener } from 'node:http'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import { ask, findNode } from '../../../runtime/cli/client.ts'
import { NodeDirectory } from '../../../runtime/node-dir.ts'

let workingDir = ''
const opened: NodeDirectory[] = []

beforeEach(() => {
  workingDir = mkdtempSync(join(tmpdir(), 'mm-'))
})

afterEach(async () => {
  for (const directory of opened.splice(0)) await directory.close()
  rmSync(workingDir, { recursive: true, force: true })
})

async function node(name: string, answer: RequestListener = () => {}, dataDir = '.runtime'): Promise<NodeDirectory> {
  const directory = await NodeDirectory.open({ dataDir: join(workingDir, dataDir), nodeName: name })
  const server = createServer(answer)
  directory.serve((socket) => server.emit('connection', socket))
  opened.push(directory)
  return directory
}

describe('which node (operations.md §2)', () => {
  test('the only one that runs, though others left their directories', async () => {
    const { socketPath } = await node('n1')
    await (await node('n2')).close()
    mkdirSync(join(workingDir, '.runtime', 'empty'))
    expect(await findNode({}, workingDir)).toBe(socketPath)
  })

  test('one whose socket had to be made elsewhere is found too', async () => {
    const long = 'n'.repeat(90)
    const { socketPath } = await node(long)
    expect(socketPath.startsWith(workingDir)).toBe(false)
    expect(await findNode({}, workingDir)).toBe(socketPath)
  })

  test('the socket, or the name, that is given', async () => {
    const { socketPath } = await node('n1')
    await node('n2')
    expect(await findNode({ socket: '/some/where' }, workingDir)).toBe('/some/where')
    expect(await findNode({ node: 'n1' }, workingDir)).toBe(socketPath)
  })

  test('several: they are listed, exit code 2', async () => {
    await node('n1')
    await node('n2')
    await expect(findNode({}, workingDir)).rejects.toMatchObject({
      exitCode: 2,
      message: expect.stringMatching(/2 nodes.*\n {2}--node n1\n {2}--node n2$/),
    })
  })

  test('none: how to start one, exit code 1', async () => {
    await expect(findNode({}, workingDir)).rejects.toMatchObject({
      exitCode: 1,
      message: expect.stringContaining('run app.yaml'),
    })
    await expect(findNode({ node: 'n9' }, workingDir)).rejects.toMatchObject({ exitCode: 1 })
  })
})

describe('asking it', () => {
  test('its JSON is the answer', async () => {
    const { socketPath } = await node('n1', (request, response) => response.end(JSON.stringify({ path: request.url })))
    expect(await ask(socketPath, '/v1/x?y=1')).toEqual({ path: '/v1/x?y=1' })
  })

  test('its error is thrown', async () => {
    const { socketPath } = await node('n1', (_request, response) => {
      response.writeHead(404).end(JSON.stringify({ error: { kind: 'NotFound', message: 'no such route' } }))
    })
    await expect(ask(socketPath, '/v1/x')).rejects.toMatchObject({ kind: 'NotFound', message: 'no such route' })
  })

  test('what is no answer of a node is said to be none', async () => {
    const { socketPath } = await node('n1', (_request, response) => response.end('<html>'))
    await expect(ask(socketPath, '/')).rejects.toMatchObject({ message: expect.stringContaining('no moonmesh node') })
    const closing = await node('n2', (request) => request.socket.destroy())
    await expect(ask(closing.socketPath, '/')).rejects.toMatchObject({ exitCode: 1 })
  })

  test('nobody there: how to start one', async () => {
    await expect(ask(join(workingDir, 'none.sock'), '/')).rejects.toMatchObject({
      exitCode: 1,
      message: expect.stringContaining('no node is running'),
    })
  })
})
