import torch
import torch.nn as nn
from sklearn.datasets import load_diabetes
from sklearn.metrics import r2_score
from sklearn.model_selection import train_test_split
from sklearn.preprocessing import StandardScaler
from torch.utils.data import DataLoader, TensorDataset


def main():
    torch.manual_seed(1)
    X, y = load_diabetes(return_X_y=True)
    X_train, X_test, y_train, y_test = train_test_split(X, y.reshape(-1, 1), test_size=0.2, random_state=42)
    xs, ys = StandardScaler(), StandardScaler()
    X_train = torch.tensor(xs.fit_transform(X_train), dtype=torch.float32)
    y_train = torch.tensor(ys.fit_transform(y_train), dtype=torch.float32)
    X_test = torch.tensor(xs.transform(X_test), dtype=torch.float32)

    loader = DataLoader(TensorDataset(X_train, y_train), batch_size=32, shuffle=True)
    regressor = nn.Sequential(nn.Linear(10, 32), nn.ReLU(), nn.Linear(32, 1))
    mse = nn.MSELoss()
    optimizer = torch.optim.Adam(regressor.parameters(), lr=2e-3, weight_decay=1e-4)

    for epoch in range(1, 25):
        regressor.train()
        total = 0.0
        for xb, yb in loader:
            optimizer.zero_grad()
            loss = mse(regressor(xb), yb)
            loss.backward()
            optimizer.step()
            total += loss.item() * len(xb)
        if epoch % 6 == 0:
            regressor.eval()
            with torch.no_grad():
                pred = ys.inverse_transform(regressor(X_test).numpy())
            print(f"epoch {epoch:3d}  train mse {total / len(X_train):.3f}  test R2 {r2_score(y_test, pred):.3f}")


if __name__ == "__main__":
    main()
