import { expect, test } from 'vitest'
import { LocksService } from '../../runtime/locks-service.ts'

const CLIENT = { pid: '{h|1}', entry: 'app:main', signal: new AbortController().signal }

test('a name that is no UTF-8 is refused: as text it would be the name of others', async () => {
  const asked: string[] = []
  const release = async (name: string): Promise<boolean> => asked.push(name) > 0
  const service = new LocksService(() => ({ release }) as never)
  const ask = async (method: string, name: string) => service.methods[method]?.([name, 0, 0], CLIENT)
  for (const method of ['acquire', 'release', 'renew', 'is_held', 'holder', 'info']) {
    await expect(ask(method, 'a\xff')).rejects.toMatchObject({
      kind: 'Invalid',
      message: expect.stringContaining('UTF-8'),
    })
  }
  expect(await ask('release', '\xc3\xa4')).toBe(true)
  expect(asked).toEqual(['ä'])
})
