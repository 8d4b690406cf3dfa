import torch
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split
from torch import nn


class AutoEncoder(nn.Module):
    """64 pixels -> 8 numbers -> 64 pixels."""

    def __init__(self, code_size=8):
        super().__init__()
        self.encoder = nn.Sequential(nn.Linear(64, 48), nn.GELU(), nn.Linear(48, code_size))
        self.decoder = nn.Sequential(nn.GELU(), nn.Linear(code_size, 48), nn.GELU(),
                                     nn.Linear(48, 64), nn.Sigmoid())

    def encode(self, x):
        return self.encoder(x)

    def decode(self, code):
        return self.decoder(code)

    def forward(self, x):
        return self.decode(self.encode(x))


def reconstruction_error(ae, images):
    ae.eval()
    with torch.no_grad():
        err = (ae(images) - images).pow(2).mean().item()
    ae.train()
    return err


def fit(ae, images, held_out, epochs=12, batch_size=64, lr=3e-3):
    optim = torch.optim.Adam(ae.parameters(), lr=lr)
    for epoch in range(1, epochs + 1):
        shuffled = images[torch.randperm(len(images))]
        for chunk in torch.split(shuffled, batch_size):
            loss = nn.functional.mse_loss(ae(chunk), chunk)
            optim.zero_grad()
            loss.backward()
            optim.step()
        if epoch % 3 == 0:
            print(f"epoch {epoch:2d}  held-out error {reconstruction_error(ae, held_out):.4f}")
    return ae


def main():
    torch.manual_seed(2)
    images = load_digits().data.astype("float32") / 16
    train, test = (torch.from_numpy(part) for part in train_test_split(images, test_size=0.2, random_state=2))
    baseline = (test - train.mean(0)).pow(2).mean().item()
    ae = fit(AutoEncoder(), train, test)
    print(f"mean-image baseline {baseline:.4f}, autoencoder {reconstruction_error(ae, test):.4f}")
    with torch.no_grad():
        print("code of the first image:", [round(v, 2) for v in ae.encode(test[0]).tolist()])


if __name__ == "__main__":
    main()
